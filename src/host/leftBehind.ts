/**
 * Removes what ended hosts left beside those of their successors: logs, and sockets of hosts that were killed.
 */
import { existsSync } from 'node:fs';
import { readdir, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AT_FDCWD, O_CREAT, O_NOFOLLOW, O_RDWR } from '../sys/constants.js';
import type { Native } from '../sys/native.js';
import { socketOwner } from '../wire/sockets.js';

/** A log is kept for a while, so that `stratafs logs` can show why its host ended. */
const KEPT_MS = 7 * 24 * 3_600_000;
const MOST = 64;
const LOCK_EX = 2;
const LOCK_NB = 4;

/** Tidies the directory of the host `own` (its path without `.sock`). Never rejects. */
export async function tidyPlace(native: Native, own: string): Promise<void> {
  const directory = dirname(own);
  try {
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      if (!name.startsWith('host-') || !name.endsWith('.sock')) continue;
      if (path !== `${own}.sock`) removeDead(native, path);
    }
    await pruneLogs(directory, basename(own));
  } catch {
    // Nobody's mount depends on it; the next host tries again.
  }
}

/** Removes a socket at which nobody listens any more. Of a host, its lock tells; the others' names hold a process. */
function removeDead(native: Native, socket: string): void {
  const owner = socketOwner(socket);
  if (owner !== undefined) {
    if (!existsSync(`/proc/${owner}`)) native.unlinkat(AT_FDCWD, socket, 0);
    return;
  }
  const lock = native.openat2(
    AT_FDCWD,
    socket.replace(/sock$/, 'lock'),
    O_RDWR | O_CREAT | O_NOFOLLOW,
    0o600,
    0,
  );
  if (lock < 0) return;
  // A launcher that comes at this moment tries again.
  if (native.flock(lock, LOCK_EX | LOCK_NB) >= 0) {
    native.unlinkat(AT_FDCWD, socket, 0);
    native.unlinkat(AT_FDCWD, socket.replace(/sock$/, 'lock'), 0);
  }
  native.close(lock);
}

/** Removes logs that are older than a week, or more than the newest ones. */
async function pruneLogs(directory: string, own: string): Promise<void> {
  const names = await readdir(directory);
  const alive = (name: string): boolean =>
    name === own || names.some((each) => each.startsWith(name) && each.endsWith('.sock'));
  const ended = names
    .filter((name) => name.startsWith('host-') && name.endsWith('.log'))
    .filter((name) => !alive(name.slice(0, -'.log'.length)));
  const aged = await Promise.all(
    ended.map(async (name) => {
      const { mtimeMs } = await stat(join(directory, name));
      return { name, age: Date.now() - mtimeMs };
    }),
  );
  const newestFirst = aged.sort((a, b) => a.age - b.age);
  for (const [at, { name, age }] of newestFirst.entries()) {
    if (at >= MOST || age > KEPT_MS) await unlink(join(directory, name));
  }
}
