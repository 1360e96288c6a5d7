/**
 * The manifests of all snapshots, and an index of them. The files are the truth; the index is made
 * from them when the snapshotter starts.
 */
import { toLatin1 } from '../../base/bytes.js';
import { names, publishFile, readText, removeFile } from '../../store/state/files.js';
import { DriverError, type Info, type Kind, type Labels, type Usage } from '../snapshotter.js';
import type { Home } from './home.js';

/**
 * How a client gets at a snapshot; decided when it is made, so that its mounts stay the same.
 * - `upper`: a bind of the upper. There is no parent, so nothing is to be united.
 * - `union`: a bind of a union that this snapshotter has mounted.
 * - `helper`: a mount of type fuse3.stratafs, which the client makes.
 * - `unpack`: a mount of type overlay over the same directories. Whoever unpacks a layer knows its
 *   options and writes to the upper, whiteouts included, without mounting anything; and an upper of
 *   kernel overlayfs is one of ours.
 */
export type Shown = 'upper' | 'union' | 'helper' | 'unpack';

export interface Snapshot {
  readonly id: number;
  readonly name: string;
  readonly kind: Kind;
  /** The parent's ID. */
  readonly parent?: number;
  /** Nanoseconds since 1970. */
  readonly created: bigint;
  readonly updated: bigint;
  readonly labels: Labels;
  readonly shown: Shown;
  /** Of a committed one that has been measured. */
  readonly usage?: Usage;
}

const KINDS: readonly unknown[] = ['active', 'view', 'committed'];
const SHOWN: readonly unknown[] = ['upper', 'union', 'helper', 'unpack'];

const encode = (snapshot: Snapshot): string =>
  `${JSON.stringify(snapshot, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}\n`;

/** A manifest; undefined when it is damaged. */
function decode(text: string): Snapshot | undefined {
  try {
    const raw = JSON.parse(text) as Record<string, unknown>;
    const whole =
      Number.isSafeInteger(raw['id']) &&
      typeof raw['name'] === 'string' &&
      KINDS.includes(raw['kind']) &&
      SHOWN.includes(raw['shown']) &&
      typeof raw['labels'] === 'object';
    if (!whole) return undefined;
    const [created, updated] = [BigInt(String(raw['created'])), BigInt(String(raw['updated']))];
    return { ...(raw as unknown as Snapshot), created, updated };
  } catch {
    return undefined;
  }
}

export class Records {
  readonly #home: Home;
  readonly #byName = new Map<string, Snapshot>();
  readonly #byId = new Map<number, Snapshot>();
  /** Of each parent, how many snapshots have it, those included that are being made. */
  readonly #children = new Map<number, number>();
  /** Names of what is being made. */
  readonly #reserved = new Set<string>();
  #lastId = 0;

  constructor(home: Home) {
    this.#home = home;
  }

  /** Reads every manifest; returns the IDs of those that are damaged, whose data stay where they are. */
  load(): number[] {
    const damaged: number[] = [];
    for (const name of names(toLatin1(this.#home.state))) {
      const id = Number(/^([1-9]\d*)\.json$/.exec(name)?.[1]);
      if (Number.isNaN(id)) continue;
      const snapshot = decode(readText(toLatin1(this.#file(id))) ?? '');
      this.useId(id);
      if (snapshot?.id === id && !this.#byName.has(snapshot.name)) this.#index(snapshot);
      else damaged.push(id);
    }
    return damaged;
  }

  #file(id: number): string {
    return `${this.#home.state}/${id}.json`;
  }

  #index(snapshot: Snapshot): void {
    const old = this.#byId.get(snapshot.id);
    if (old) this.#forget(old);
    this.#byId.set(snapshot.id, snapshot);
    this.#byName.set(snapshot.name, snapshot);
    if (snapshot.parent !== undefined) this.pin(snapshot.parent);
  }

  #forget(snapshot: Snapshot): void {
    this.#byId.delete(snapshot.id);
    this.#byName.delete(snapshot.name);
    if (snapshot.parent !== undefined) this.unpin(snapshot.parent);
  }

  /** No later snapshot gets this ID. */
  useId(id: number): void {
    this.#lastId = Math.max(this.#lastId, id);
  }

  newId(): number {
    return ++this.#lastId;
  }

  /** Throws already-exists; until `free` nobody else gets the name. */
  reserve(name: string): void {
    if (name === '') throw new DriverError('invalid-argument', 'a snapshot needs a name');
    if (this.#byName.has(name) || this.#reserved.has(name)) {
      throw new DriverError('already-exists', `snapshot ${name} exists already`);
    }
    this.#reserved.add(name);
  }

  free(name: string): void {
    this.#reserved.delete(name);
  }

  /** Counts one more child: the parent cannot be removed. */
  pin(id: number): void {
    this.#children.set(id, (this.#children.get(id) ?? 0) + 1);
  }

  unpin(id: number): void {
    const left = (this.#children.get(id) ?? 0) - 1;
    if (left > 0) this.#children.set(id, left);
    else this.#children.delete(id);
  }

  hasChildren(id: number): boolean {
    return this.#children.has(id);
  }

  /** Writes a manifest, durably; from then on the snapshot is what it says. */
  publish(snapshot: Snapshot): void {
    publishFile(toLatin1(this.#file(snapshot.id)), encode(snapshot), { sync: true });
    this.#index(snapshot);
  }

  /** Removes a manifest, durably; from then on there is no such snapshot. */
  drop(snapshot: Snapshot): void {
    removeFile(toLatin1(this.#file(snapshot.id)), { sync: true });
    this.#forget(snapshot);
  }

  /** Throws not-found. */
  get(name: string): Snapshot {
    const snapshot = this.#byName.get(name);
    if (!snapshot) throw new DriverError('not-found', `snapshot ${name} does not exist`);
    return snapshot;
  }

  byId(id: number): Snapshot | undefined {
    return this.#byId.get(id);
  }

  /** By ID. */
  all(): Snapshot[] {
    return [...this.#byId.values()].sort((a, b) => a.id - b.id);
  }

  /** The parents of a snapshot, nearest first. Throws when one is missing. */
  parents(snapshot: Pick<Snapshot, 'name' | 'parent'>): Snapshot[] {
    const chain: Snapshot[] = [];
    for (let id = snapshot.parent; id !== undefined; ) {
      const parent = this.#byId.get(id);
      if (!parent) {
        throw new DriverError(
          'failed-precondition',
          `snapshot ${snapshot.name} cannot be used: a layer below it (number ${id}) is missing; remove it and fetch the image again`,
        );
      }
      chain.push(parent);
      id = parent.parent;
    }
    return chain;
  }

  info(snapshot: Snapshot): Info {
    const { name, kind, created, updated, labels, parent } = snapshot;
    const below = parent === undefined ? undefined : this.#byId.get(parent);
    return { name, kind, created, updated, labels, parent: below?.name ?? '' };
  }
}
