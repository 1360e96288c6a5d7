/**
 * Locks between processes: flock(2) on a file of the store. The kernel drops the lock when its holder
 * dies, so no lock outlives a crash and none is ever broken by hand.
 */
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { display } from '../../base/bytes.js';
import { E, errnoText, UserError } from '../../base/errno.js';
import { loadNative } from '../../sys/native.js';
import { bytes } from '../../sys/paths.js';

const LOCK_EX = 2;
const LOCK_NB = 4;
const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 16;

/** A held lock; `release` may be called twice. */
export interface Lock {
  release(): void;
}

function hold(fd: number): Lock {
  let held = true;
  return {
    release() {
      if (held) closeSync(fd);
      held = false;
    },
  };
}

/** Takes the lock on `path`, a file (made when missing) or a directory, or undefined when somebody has it. */
export function tryLock(path: string, directory = false): Lock | undefined {
  // O_CLOEXEC is Node's default: no child process keeps the lock.
  const fd = openSync(bytes(path), directory ? 'r' : 'a', 0o600);
  const result = loadNative().flock(fd, LOCK_EX | LOCK_NB);
  if (result >= 0) return hold(fd);
  closeSync(fd);
  if (result === -E.EWOULDBLOCK) return undefined;
  throw new UserError(`cannot lock ${display(path)}: ${errnoText(result)}`);
}

/** Waits for the lock on `path`, for `patienceMs` at most. */
export async function takeLock(path: string, patienceMs = Number.POSITIVE_INFINITY): Promise<Lock> {
  const begun = performance.now();
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    const lock = tryLock(path);
    if (lock) return lock;
    if (performance.now() - begun > patienceMs) {
      throw new UserError(
        `${display(path)} is locked by another stratafs command: wait for its end`,
      );
    }
    await sleep(wait);
  }
}
