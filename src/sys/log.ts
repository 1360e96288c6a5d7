import { fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/**
 * Lines of one thread within a minute. More tell nothing new, and would fill the disk of the log:
 * a bad layer is complained about at each lookup.
 */
const MOST = 100;
const MINUTE_MS = 60_000;
/** A log file that grows beyond this is cut down to its last KEPT bytes, whatever the lines are. */
const MOST_BYTES = 1 << 20;
const KEPT = 256 << 10;
/** How much a thread writes before it looks at the file again. */
const LOOK_AFTER = 64 << 10;

let begun = -MINUTE_MS;
let lines = 0;
let unseen = 0;

/** One line on the process's stderr, at once: an engine thread never returns to an event loop. Never throws. */
export function writeLine(line: string): void {
  try {
    writeSync(2, `${line}\n`);
    unseen += line.length;
    if (unseen >= LOOK_AFTER) shorten();
  } catch {
    // ENOSPC, EPIPE, EBADF, EAGAIN: nobody reads the log; serving goes on.
  }
}

/** Only a file that we may read back: a terminal and the journal look after themselves. */
function shorten(): void {
  unseen = 0;
  const info = fstatSync(2);
  if (!info.isFile() || info.size <= MOST_BYTES) return;
  const tail = Buffer.alloc(KEPT);
  const read = readSync(2, tail, 0, KEPT, info.size - KEPT);
  ftruncateSync(2, 0);
  const first = tail.indexOf(0x0a) + 1;
  writeSync(2, tail.subarray(first, read));
}

/** A line for an operator, unless there were too many in this minute. */
export function logLine(line: string): void {
  const now = performance.now();
  if (now - begun >= MINUTE_MS) {
    begun = now;
    lines = 0;
  }
  if (++lines <= MOST) writeLine(line);
  else if (lines === MOST + 1)
    writeLine('stratafs: too many lines: the rest of this minute is left out');
}

/** What an engine has to tell. */
export const log = (line: string): void => {
  logLine(`stratafs: ${line}`);
};
