/** The store's state: opening it, and the manifests of its objects. */
import { chmodSync } from 'node:fs';
import { display } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import {
  type Durability,
  makeDirectory,
  names,
  publishFile,
  readText,
  removeFile,
  syncDirectory,
} from './files.js';
import { bytes } from '../../sys/paths.js';
import { checkKey, DATA_KINDS, type Kind, KINDS, OTHER_DIRECTORIES, type Use } from './layout.js';
import { Lease } from './lease.js';
import { type Lock, takeLock } from './lock.js';
import { runRoot, storeRoot } from './place.js';
import { hasShape } from './shapes.js';
import { discard } from './trash.js';

const VERSION = 1;
const VERSION_TEXT = `stratafs store ${VERSION}\n`;

/** What every manifest may say. */
export interface Manifest {
  /** Objects that must not go while this one exists; gc follows them. */
  readonly uses?: readonly Use[];
}

export interface StoreOptions {
  /** As given with --root; the default place otherwise. UTF-8. */
  readonly root?: string;
  /** False (--no-sync): nothing waits for the disk; a power loss may take whole objects or damage them. */
  readonly sync?: boolean;
  /** False: refuse instead of making a store where there is none. */
  readonly create?: boolean;
}

export class Store implements Durability {
  /** Absolute, latin1. */
  readonly root: string;
  /** For sockets, pids and what else ends with a reboot; made on first use by who needs it. */
  readonly run: string;
  readonly sync: boolean;

  constructor(root: string, sync: boolean) {
    this.root = root;
    this.run = runRoot(root);
    this.sync = sync;
  }

  /** The data directory of an object; it exists only while the manifest does, but for leftovers. */
  dataOf(kind: Kind, key: string): string {
    checkKey(kind, key);
    return `${this.root}/${kind}/${key}`;
  }

  #manifest(kind: Kind, key: string): string {
    checkKey(kind, key);
    return `${this.root}/state/${kind}/${key}.json`;
  }

  /** Writes an object's manifest, durably; from then on the object exists. Its data are synced before. */
  publish(kind: Kind, key: string, manifest: Manifest): void {
    publishFile(this.#manifest(kind, key), `${JSON.stringify(manifest)}\n`, this);
  }

  /** An object's manifest, or undefined when there is none. Throws UserError when it is damaged. */
  read(kind: Kind, key: string): Manifest | undefined {
    const path = this.#manifest(kind, key);
    const text = readText(path);
    if (text === undefined) return undefined;
    const value = parse(text);
    if (hasShape(kind, value)) return value as Manifest;
    throw new UserError(`${display(path)} is damaged: run stratafs fsck`);
  }

  has(kind: Kind, key: string): boolean {
    return readText(this.#manifest(kind, key)) !== undefined;
  }

  /** The keys of all objects of a kind, sorted. */
  list(kind: Kind): string[] {
    return names(`${this.root}/state/${kind}`)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length));
  }

  /**
   * Removes an object: first its manifest, durably, then its data directory. False when it did not
   * exist. A mount in the data directory must be gone.
   */
  remove(kind: Kind, key: string): boolean {
    const removed = removeFile(this.#manifest(kind, key), this);
    if (DATA_KINDS[kind] !== undefined) discard(this.root, this.dataOf(kind, key));
    return removed;
  }

  /**
   * Runs `act` while no other command changes what is between objects: names, tags, references.
   * For short work: no download, no unpacking. Not re-entrant.
   */
  async locked<T>(act: () => T | Promise<T>): Promise<T> {
    const lock = await takeLock(`${this.root}/lock`);
    try {
      return await act();
    } finally {
      lock.release();
    }
  }

  /** The lock of one object, for read-change-publish; other objects are not held up. */
  lockObject(kind: Kind, key: string, patienceMs?: number): Promise<Lock> {
    checkKey(kind, key);
    return takeLock(`${this.root}/locks/${kind}-${key}`, patienceMs);
  }

  /** Removes the lock of an object that is gone for good; call it with the lock. */
  dropLock(kind: Kind, key: string): void {
    checkKey(kind, key);
    removeFile(`${this.root}/locks/${kind}-${key}`, { sync: false });
  }

  /** Begins to add something: see lease.ts. Release it in `finally`. */
  lease(): Promise<Lease> {
    return this.locked(() => new Lease(this.root));
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isEmpty(root: string): boolean {
  return names(root).filter((name) => name !== 'lost+found').length === 0;
}

function makeStore(root: string, durability: Durability): void {
  makeDirectory(root, 0o711);
  for (const kind of KINDS) makeDirectory(`${root}/state/${kind}`);
  for (const [kind, mode] of Object.entries(DATA_KINDS)) {
    makeDirectory(`${root}/${kind}`);
    // Not by mkdir's mode, which the umask cuts.
    chmodSync(bytes(`${root}/${kind}`), mode);
  }
  for (const name of OTHER_DIRECTORIES) makeDirectory(`${root}/${name}`);
  chmodSync(bytes(root), 0o711);
  if (durability.sync) {
    syncDirectory(`${root}/state`);
    syncDirectory(root);
  }
}

/** Refuses what is no store of ours; false when there is none yet. */
function checkVersion(root: string): boolean {
  const text = readText(`${root}/version`);
  if (text === VERSION_TEXT) return true;
  if (text !== undefined) {
    const said = display(text.trim().slice(0, 60));
    throw new UserError(
      `${display(root)} has a store of another version ('${said}'; this stratafs knows '${VERSION_TEXT.trim()}'): use the stratafs that made it, or another --root`,
    );
  }
  if (isEmpty(root)) return false;
  // A crash while the store was being made leaves these directories and no version.
  const ours = new Set<string>(['state', 'content', 'leases', 'trash', 'locks', 'lock', ...KINDS]);
  const foreign = names(root).find((name) => !ours.has(name) && name !== 'lost+found');
  if (foreign !== undefined) {
    throw new UserError(
      `${display(root)} is no stratafs store and is not empty (${display(foreign)}): give an empty directory`,
    );
  }
  return false;
}

/** Opens the store, making it where there is none. Throws UserError. */
export async function openStore(options: StoreOptions = {}): Promise<Store> {
  const root = storeRoot(options.root);
  const store = new Store(root, options.sync ?? true);
  if (checkVersion(root)) return store;
  if (options.create === false) throw new UserError(`there is no store in ${display(root)}`);
  makeDirectory(root, 0o711);
  await store.locked(() => {
    if (checkVersion(root)) return;
    makeStore(root, store);
    // Last: what comes before may be half there after a crash, and is made again.
    publishFile(`${root}/version`, VERSION_TEXT, store);
  });
  return store;
}
