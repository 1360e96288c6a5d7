/**
 * Makes one native call fail, once. A sweep repeats a piece of work, and each time the next of its calls
 * fails, until each failure has been met.
 */
import type { Native } from '../../src/sys/native.js';
import { loadNative } from '../../src/sys/native.js';

/** Calls that only tell or keep something. */
const NEVER = new Set(['memory', 'close', 'umask', 'setBacking', 'arenaFree', 'arenaTrim']);
const ASKS =
  /^(openat2|openTree|mountSetattr|statx|\w+at2?|getdents64|lseek|\w+xattr|pread|pwrite|f\w+|copy\w+|ioctl|nameToHandleAt|openByHandleAt|syncfs)$/;

export interface Faulty {
  readonly native: Native;
  /** Calls so far. */
  readonly calls: number;
  /** The call that has failed: its name and arguments; undefined when none has. */
  readonly hit: string | undefined;
  /** Call number `at` from now on (1: the next) fails with `errno` (> 0). */
  arm(at: number, errno: number): void;
  disarm(): void;
}

/** A native object whose system calls can be made to fail. */
export function faulty(native: Native = loadNative()): Faulty {
  let calls = 0;
  let at = 0;
  let errno = 0;
  let hit: string | undefined;
  const wrap = (key: string, call: (...all: unknown[]) => unknown) =>
    function (...args: unknown[]): unknown {
      calls++;
      if (at === 0 || calls !== at) return call(...args);
      at = 0;
      hit = `${key}(${args.map(String).join(', ')})`;
      return -errno;
    };
  const all = native as unknown as Record<string, unknown>;
  // The addon's own functions cannot be replaced, not even by a proxy.
  const wrapped = Object.fromEntries(
    Object.keys(all).map((key) => {
      const value = all[key];
      const fails = typeof value === 'function' && !NEVER.has(key) && ASKS.test(key);
      return [key, fails ? wrap(key, value as (...args: unknown[]) => unknown) : value];
    }),
  );
  return {
    native: wrapped as unknown as Native,
    get calls() {
      return calls;
    },
    get hit() {
      return hit;
    },
    arm(next, code) {
      at = calls + next;
      errno = code;
      hit = undefined;
    },
    disarm() {
      at = 0;
    },
  };
}
