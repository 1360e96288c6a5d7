import { writeSync } from 'node:fs';

/** One line on the process's stderr, at once: an engine thread never returns to an event loop. */
export function log(line: string): void {
  try {
    writeSync(2, `stratafs: ${line}\n`);
  } catch {
    // EPIPE, EBADF, EAGAIN: nobody reads the log; serving goes on.
  }
}
