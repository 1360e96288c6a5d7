/** Writing to the standard streams, whole, also into pipes. */
import { writeSync } from 'node:fs';

/** Writes bytes; a reader that has left (EPIPE) ends it quietly. */
export function printBytes(bytes: Uint8Array, fd = 1): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'EPIPE') return;
      // A full non-blocking pipe: tried again.
      if (code !== 'EAGAIN') throw error;
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
