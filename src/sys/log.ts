import { writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/** Lines of one thread within a minute. More tell nothing new, and would fill the disk of the log: a bad layer is complained about at each lookup. */
const MOST = 100;
const MINUTE_MS = 60_000;

let begun = -MINUTE_MS;
let lines = 0;

/** One line on the process's stderr, at once: an engine thread never returns to an event loop. Never throws. */
export function writeLine(line: string): void {
  try {
    writeSync(2, `${line}\n`);
  } catch {
    // ENOSPC, EPIPE, EBADF, EAGAIN: nobody reads the log; serving goes on.
  }
}

/** The same for what an operator should know, unless there is too much of it. */
export function log(line: string): void {
  const now = performance.now();
  if (now - begun >= MINUTE_MS) {
    begun = now;
    lines = 0;
  }
  if (++lines <= MOST) writeLine(`stratafs: ${line}`);
  else if (lines === MOST + 1)
    writeLine('stratafs: too many lines: the rest of this minute is left out');
}
