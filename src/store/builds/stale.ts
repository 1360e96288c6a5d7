/**
 * What builds leave that are killed: mounts, and processes of their RUN steps. Both are noted in the store's
 * run directory under the name of the build's lease; the next build, `gc` or `fsck` ends those whose lease
 * nobody holds.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { Unions } from '../../client/unions.js';
import { log } from '../../sys/log.js';
import { bytes } from '../../sys/paths.js';
import { findRuntime, runtime } from '../containers/runtime.js';
import { names } from '../state/files.js';
import type { Lease } from '../state/lease.js';
import { tryLock } from '../state/lock.js';
import type { Store } from '../state/store.js';

const utf8 = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');

/** The directory of a build in the run directory; latin1. */
export const buildPlace = (store: Store, lease: Lease): string =>
  `${store.run}/builds/${lease.directory.slice(lease.directory.lastIndexOf('/') + 1)}`;

/** Notes that a process with this ID of the runtime is about to start. */
export function noteProcess(place: string, id: string): void {
  mkdirSync(bytes(`${place}/processes`), { recursive: true, mode: 0o700 });
  writeFileSync(bytes(`${place}/processes/${id}`), '');
}

function isHeld(store: Store, name: string): boolean {
  try {
    const lock = tryLock(`${store.root}/leases/${name}`, true);
    lock?.release();
    return lock === undefined;
  } catch {
    // The lease has been removed.
    return false;
  }
}

/** Ends what killed builds have left; never rejects for what cannot be ended. */
export async function endStaleBuilds(store: Store): Promise<void> {
  for (const name of names(`${store.run}/builds`)) {
    if (isHeld(store, name)) continue;
    await endPlace(store, `${store.run}/builds/${name}`);
  }
}

/** Ends everything below a build's place, and removes it. */
export async function endPlace(store: Store, place: string): Promise<void> {
  for (const id of names(`${place}/processes`)) {
    // It has ended by itself, or never began.
    await runtime(store, findRuntime(), ['delete', '--force', id]).catch(() => undefined);
  }
  const unions = new Unions(log);
  const mounts = unions.below(utf8(place));
  for (const each of mounts.reverse()) await unions.end(each);
  if (unions.below(utf8(place)).length === 0)
    rmSync(bytes(place), { recursive: true, force: true });
}
