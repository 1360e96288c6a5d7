/** Files and standard input as streams. */
import { display } from '../../base/bytes.js';
import { errnoText, UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import { readFileStream } from '../../store/content/ingest.js';

/** A file's bytes; what cannot be opened is one sentence. */
export async function* inputFile(path: string): AsyncGenerator<Buffer, void> {
  try {
    yield* readFileStream(path);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`cannot read ${display(path)}: ${errnoText(errnoOf(error))}`);
  }
}

/** Standard input; a terminal is refused, as nobody types an archive. */
export function standardInput(): AsyncIterable<Uint8Array> {
  if (process.stdin.isTTY) {
    throw new UserError('requested load from stdin, but stdin is empty: give a file or a pipe');
  }
  return process.stdin as AsyncIterable<Uint8Array>;
}
