/** Archives go to a file, whole or not at all, or to standard output. */
import { open, rename, unlink } from 'node:fs/promises';
import { writeSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';

type Write = (chunk: Uint8Array) => Promise<void>;

/** Writes beside the file and renames: no half archive ever has its name. */
export async function toFile(path: string, save: (write: Write) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(bytes(temporary), 'wx', 0o600);
  try {
    await save(async (chunk) => {
      for (let done = 0; done < chunk.length; ) {
        done += (await file.write(chunk, done, chunk.length - done)).bytesWritten;
      }
    });
    await file.close();
    await rename(bytes(temporary), bytes(path));
  } catch (error) {
    await file.close();
    await unlink(bytes(temporary));
    throw error;
  }
}

/** A reader that leaves early is an error here: the archive is not whole. */
export function toStandardOutput(chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    try {
      done += writeSync(1, chunk, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') throw new UserError('the reader of the archive has left');
      if (code !== 'EAGAIN') throw error;
    }
  }
  return Promise.resolve();
}

/** To the file `output` (latin1), or to standard output. */
export const writeArchive = (
  output: string | undefined,
  save: (write: Write) => Promise<void>,
): Promise<void> => (output === undefined ? save(toStandardOutput) : toFile(output, save));
