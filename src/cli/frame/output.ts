/** Writing to the standard streams, whole, also into pipes. */
import { writeSync } from 'node:fs';
import { withoutControls } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { safeName } from './names.js';

/**
 * Writes bytes; a reader that has left (EPIPE) ends it quietly. Throws UserError when standard output
 * takes no more (a full disk); for standard error there is nobody to tell.
 */
export function printBytes(bytes: Uint8Array, fd = 1): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'EPIPE') return;
      // A full non-blocking pipe: tried again.
      if (code === 'EAGAIN') continue;
      if (fd === 2) return;
      throw new UserError(`cannot write to the standard output: ${String(code)}`);
    }
  }
}

export const print = (text: string): void => {
  printBytes(Buffer.from(text, 'utf8'));
};

/** For what is not the answer: progress, warnings. */
export const say = (text: string): void => {
  printBytes(Buffer.from(`${text}\n`, 'utf8'), 2);
};

/** A path (latin1) for people: as it is in a pipe, without what a terminal obeys on one. */
export const shownPath = (path: string): string =>
  process.stdout.isTTY ? Buffer.from(safeName(path), 'utf8').toString('latin1') : path;

/** The one sentence of a failure, on standard error. */
export const sayError = (message: string): void => {
  say(`stratafs: ${withoutControls(message)}`);
};
