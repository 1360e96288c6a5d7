/**
 * A lease: a command that is adding to the store. Its directory holds what is not published yet, and
 * the file `uses` names what it relies on, so that `gc` takes neither. The directory itself is locked
 * by flock(2): a lease without a holder is a leftover of a crash, and `gc` and `fsck` remove it.
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import { display } from '../../base/bytes.js';
import { names, readText } from './files.js';
import { bytes } from '../../sys/paths.js';
import { newId } from './ids.js';
import type { Use } from './layout.js';
import { type Lock, tryLock } from './lock.js';
import { discard } from './trash.js';

export class Lease {
  /** A private directory on the store's file system, removed with the lease. */
  readonly directory: string;
  /** Images this command has published: they go again when it fails. */
  readonly added: string[] = [];
  readonly #root: string;
  readonly #lock: Lock;
  #released = false;

  /** Call it under the store's lock: without a holder the new directory looks like a leftover. */
  constructor(root: string) {
    this.#root = root;
    this.directory = `${root}/leases/${newId().slice(0, 24)}`;
    mkdirSync(bytes(this.directory), 0o700);
    const lock = tryLock(this.directory, true);
    if (!lock) throw new Error(`${display(this.directory)} is locked although it is new`);
    this.#lock = lock;
  }

  /** From now on gc keeps `use`. Call it under the store's lock, before looking whether it exists. */
  keep(use: Use): void {
    appendFileSync(bytes(`${this.directory}/uses`), `${use}\n`);
  }

  /** Ends the lease and deletes what it did not publish; may be called twice. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    discard(this.#root, this.directory);
    this.#lock.release();
  }
}

interface Leases {
  /** What commands under way rely on. */
  readonly uses: readonly Use[];
  /** Directories of commands that have died. */
  readonly dead: readonly string[];
}

/** Looks at every lease. Call it under the store's lock. */
export function readLeases(root: string): Leases {
  const uses: Use[] = [];
  const dead: string[] = [];
  for (const name of names(`${root}/leases`)) {
    const directory = `${root}/leases/${name}`;
    if (isHeld(directory)) {
      uses.push(...((readText(`${directory}/uses`) ?? '').split('\n').filter(Boolean) as Use[]));
    } else dead.push(directory);
  }
  return { uses, dead };
}

function isHeld(directory: string): boolean {
  const lock = tryLock(directory, true);
  lock?.release();
  return lock === undefined;
}
