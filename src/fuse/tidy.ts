/**
 * Gives memory of forgotten nodes back to the kernel once the mount is quiet: pages of the arena, and garbage
 * that V8 keeps. A thread that allocates nothing never triggers a collection by itself.
 */
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ELAPSED } from '../sys/tally.js';
import type { Served } from './served.js';

/** How long a mount has nothing to do before it is tidied. */
const QUIET_MS = 500;
/** A timer may be early by so much; other things wake the thread much earlier. */
const TIMER_MS = 10;
/** A mount that is never quiet is tidied after so many looks. */
const LOOKS_MAX = 60;

let collector: (() => void) | undefined;

/** V8 has it for whoever asks; known only to code of a context that is made after this flag is set. */
function collect(): void {
  if (!collector) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }
  collector();
}

/** Nodes were forgotten. */
export function tidyLater(s: Served): void {
  if (s.looks !== 0 || !s.ov.table.arena.slackens) return;
  s.looks = 1;
  look(s, served(s));
}

/** The thread was woken: tidies the mount if there is something to tidy and it is quiet. Returns whether it has. */
export function tidy(s: Served): boolean {
  if (s.looks === 0) return false;
  if (performance.now() - s.lookedAt < QUIET_MS - TIMER_MS) {
    wait(s);
    return false;
  }
  const now = served(s);
  if (now !== s.served && s.looks < LOOKS_MAX) {
    s.looks++;
    look(s, now);
    return false;
  }
  s.looks = 0;
  s.ov.table.trim();
  collect();
  return true;
}

function look(s: Served, now: number): void {
  s.served = now;
  s.lookedAt = performance.now();
  wait(s);
}

/** EMFILE, ENOMEM: no timer to be had; the memory stays until something else wakes the thread. */
const wait = (s: Served): number => s.ov.sys.native.wakeAfter(QUIET_MS);

/** Rises with each request. */
function served({ ov, slot }: Served): number {
  let sum = 0;
  for (const count of ov.sys.native.counters(slot).subarray(0, ELAPSED)) sum += count;
  return sum;
}
