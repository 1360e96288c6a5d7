/** The snapshotter over directories and unions; the lifecycle is told in ../snapshotter.ts. */
import { chmodSync, chownSync, renameSync, rmdirSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { loadNative } from '../../sys/native.js';
import { parseFilters } from '../filters.js';
import {
  DriverError,
  type Info,
  type Kind,
  type Labels,
  type Mount,
  type Snapshotter,
  type Usage,
} from '../snapshotter.js';
import type { Unions } from '../../client/unions.js';
import type { Home } from './home.js';
import { MAX_SIZE, SNAPSHOT_REF, takeLabels } from './labels.js';
import { chooseShown, present, type Presentation, unionOf } from './present.js';
import { Queues } from './queues.js';
import type { Records, Snapshot } from './records.js';
import { measure, removeTree } from './tree.js';

/** To the microsecond: containerd compares the times of snapshots with its own. */
const now = (): bigint => loadNative().timeOfDay();

interface SnapshotsOptions {
  readonly presentation: Presentation;
  /** Layers may be unpacked beside us: see `unpack` in records.ts. Not in a user namespace. */
  readonly mayUnpack: boolean;
  readonly log: (line: string) => void;
}

export class Snapshots implements Snapshotter {
  readonly home: Home;
  readonly records: Records;
  readonly #unions: Unions;
  readonly #options: SnapshotsOptions;
  readonly #queues = new Queues();
  /** Deletions under way. */
  readonly #deleting = new Set<Promise<void>>();

  constructor(home: Home, records: Records, unions: Unions, options: SnapshotsOptions) {
    this.home = home;
    this.records = records;
    this.#unions = unions;
    this.#options = options;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous
  async stat(key: string): Promise<Info> {
    return this.records.info(this.records.get(key));
  }

  prepare(key: string, parent: string, labels: Labels): Promise<readonly Mount[]> {
    return this.#create('active', key, parent, labels);
  }

  view(key: string, parent: string, labels: Labels): Promise<readonly Mount[]> {
    return this.#create('view', key, parent, labels);
  }

  async #create(
    kind: Kind,
    key: string,
    parentName: string,
    given: Labels,
  ): Promise<readonly Mount[]> {
    const labels = takeLabels(given);
    const parent = parentName === '' ? undefined : this.#committed(parentName);
    this.#refuseKnown(labels, parent);
    const hasParent = parent !== undefined;
    const { presentation, mayUnpack } = this.#options;
    const shown = chooseShown({ kind, name: key, labels, hasParent }, presentation, mayUnpack);
    this.records.reserve(key);
    if (parent) this.records.pin(parent.id);
    const id = this.records.newId();
    try {
      const time = now();
      const times = { created: time, updated: time };
      const below = parent ? { parent: parent.id } : {};
      const snapshot: Snapshot = { id, name: key, kind, ...below, ...times, labels, shown };
      const parents = this.records.parents(snapshot);
      this.#makeDirectories(id, parent);
      if (shown === 'union') await this.#unions.mount(unionOf(this.home, snapshot, parents));
      this.home.sync(id);
      this.records.publish(snapshot);
      this.#tellOfSize(snapshot);
      return present(this.home, snapshot, parents);
    } catch (error) {
      await this.#discard(id);
      throw error;
    } finally {
      this.records.free(key);
      if (parent) this.records.unpin(parent.id);
    }
  }

  #committed(name: string): Snapshot {
    const parent = this.records.get(name);
    if (parent.kind === 'committed') return parent;
    throw new DriverError(
      'invalid-argument',
      `${name} is not committed (it is of kind ${parent.kind}): it cannot be a parent`,
    );
  }

  /**
   * The layer that is to be unpacked is here already, brought by a client of another namespace of
   * containerd: it takes that one. The chain ID tells the content of the layer and of all below.
   */
  #refuseKnown(labels: Labels, parent: Snapshot | undefined): void {
    const ref = labels[SNAPSHOT_REF] as string | undefined;
    if (ref === undefined) return;
    const known = this.records
      .all()
      .some(
        (each) =>
          each.kind === 'committed' &&
          each.labels[SNAPSHOT_REF] === ref &&
          each.parent === parent?.id,
      );
    if (known) throw new DriverError('already-exists', `layer ${ref} is here already`);
  }

  /** An upper begins with the owner and the mode that its root has in the layer below. */
  #makeDirectories(id: number, parent: Snapshot | undefined): void {
    this.home.make(id);
    if (!parent) return;
    const { uid, gid, mode } = statSync(this.home.part(parent.id, 'fs'));
    const upper = this.home.part(id, 'fs');
    chownSync(upper, uid, gid);
    chmodSync(upper, mode & 0o7777);
  }

  #tellOfSize({ name, labels }: Snapshot): void {
    if (!Object.hasOwn(labels, MAX_SIZE)) return;
    this.#options.log(
      `${name}: ${MAX_SIZE} is not enforced: directories have no limit of their own`,
    );
  }

  async mounts(key: string): Promise<readonly Mount[]> {
    return this.#queues.run(this.records.get(key).id, async () => {
      const snapshot = this.records.get(key);
      if (snapshot.kind === 'committed') {
        throw new DriverError('failed-precondition', `${key} is committed: it has no mounts`);
      }
      const parents = this.records.parents(snapshot);
      if (snapshot.shown === 'union') await this.#ensureUnion(snapshot, parents);
      return present(this.home, snapshot, parents);
    });
  }

  /** After a restart of the machine, or the death of a host, a union has to be mounted again. */
  async #ensureUnion(snapshot: Snapshot, parents: readonly Snapshot[]): Promise<void> {
    const union = unionOf(this.home, snapshot, parents);
    if (await this.#unions.isLive(union.mountpoint)) return;
    await this.#unions.end(union.mountpoint);
    await this.#unions.mount(union);
  }

  async commit(name: string, key: string, labels: Labels, parent: string): Promise<void> {
    const kept = takeLabels(labels);
    const { id } = this.records.get(key);
    this.records.reserve(name);
    try {
      await this.#queues.run(id, () => this.#commit(name, key, kept, parent));
    } finally {
      this.records.free(name);
    }
  }

  async #commit(name: string, key: string, labels: Labels, parentName: string): Promise<void> {
    const snapshot = this.records.get(key);
    if (snapshot.kind !== 'active') {
      throw new DriverError('failed-precondition', `${key} is no active snapshot`);
    }
    const parent = this.#parentOfCommit(snapshot, parentName);
    if (parent !== undefined) this.records.pin(parent);
    try {
      await this.#settle(snapshot);
      const { id, shown } = snapshot;
      const time = now();
      const below = parent === undefined ? {} : { parent };
      const kind = 'committed';
      const times = { created: time, updated: time };
      this.records.publish({ id, name, kind, ...below, ...times, labels, shown });
    } finally {
      if (parent !== undefined) this.records.unpin(parent);
    }
    this.#tidy(snapshot.id);
  }

  /** A snapshot prepared without a parent may get one; no other can be changed (rebase). */
  #parentOfCommit(snapshot: Snapshot, name: string): number | undefined {
    if (name === '') return snapshot.parent;
    const parent = this.#committed(name);
    if (snapshot.parent === undefined || snapshot.parent === parent.id) return parent.id;
    throw new DriverError(
      'invalid-argument',
      `${snapshot.name} has a parent: it cannot be committed over ${name}`,
    );
  }

  /** Whatever was written to the snapshot is on the disk, and its union is no longer mounted here. */
  async #settle({ id, shown }: Snapshot): Promise<void> {
    const upper = this.home.part(id, 'fs');
    if (shown === 'union' || shown === 'helper') await this.#unions.flush(upper);
    const merged = this.home.part(id, 'merged');
    if (shown === 'union' && (await this.#unions.isLive(merged))) {
      this.#unions.freeze(merged);
      await this.#unions.end(merged);
    }
    await this.#unions.sync(upper);
  }

  /** A layer needs neither a workdir nor a mount point. What stays is swept at the next start. */
  #tidy(id: number): void {
    const work = this.home.part(id, 'work');
    this.#delete(id, () => removeTree(work));
    try {
      rmdirSync(this.home.part(id, 'merged'));
    } catch (error) {
      this.#options.log(`cannot remove the mount point of a layer: ${String(error)}`);
    }
  }

  async remove(key: string): Promise<void> {
    await this.#queues.run(this.records.get(key).id, async () => {
      const snapshot = this.records.get(key);
      if (this.records.hasChildren(snapshot.id)) {
        throw new DriverError(
          'failed-precondition',
          `cannot remove snapshot ${key}: it is the parent of another`,
        );
      }
      this.records.drop(snapshot);
      await this.#discard(snapshot.id);
    });
  }

  /** Takes the union off and begins to delete the directories of what does not exist (any more). */
  async #discard(id: number): Promise<void> {
    await this.#unions.end(this.home.part(id, 'merged'));
    this.#delete(id, async () => {
      const target = `${this.home.trash}/${id}`;
      renameSync(this.home.directory(id), target);
      await removeTree(target);
    });
  }

  #delete(id: number, act: () => Promise<void>): void {
    const deleting = act()
      .catch((error: unknown) => {
        const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
        if (!missing) this.#options.log(`snapshot number ${id}: ${String(error)}`);
      })
      .finally(() => this.#deleting.delete(deleting));
    this.#deleting.add(deleting);
  }

  async update(name: string, labels: Labels, fields: readonly string[]): Promise<Info> {
    return this.#queues.run(this.records.get(name).id, async () => {
      const snapshot = this.records.get(name);
      const changed = takeLabels(changeLabels(snapshot.labels, labels, fields));
      this.records.publish({ ...snapshot, labels: changed, updated: now() });
      return this.stat(name);
    });
  }

  async usage(key: string): Promise<Usage> {
    const snapshot = this.records.get(key);
    if (snapshot.usage) return snapshot.usage;
    if (snapshot.kind === 'view') return { size: 0, inodes: 0 };
    const usage = await measure(this.home.part(snapshot.id, 'fs'));
    if (snapshot.kind !== 'committed') return usage;
    // A layer never changes: once is enough.
    await this.#queues.run(snapshot.id, async () => {
      const known = this.records.byId(snapshot.id);
      if (known) this.records.publish({ ...known, usage });
      return Promise.resolve();
    });
    return usage;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous
  async list(filters: readonly string[]): Promise<readonly Info[]> {
    const matches = parseFilters(filters);
    return this.records
      .all()
      .map((snapshot) => this.records.info(snapshot))
      .filter((info) => matches((path) => field(info, path)));
  }

  async cleanup(): Promise<void> {
    await Promise.all(this.#deleting);
    for (const name of await readdir(this.home.trash)) {
      await removeTree(`${this.home.trash}/${name}`);
    }
  }

  /**
   * Runs `act` while nothing else happens to the snapshot `id`. `upper` is its own directory, `lowers`
   * are the layers below, topmost first.
   */
  withUpper<T>(
    id: number,
    act: (snapshot: Snapshot, upper: string, lowers: readonly string[]) => Promise<T>,
  ): Promise<T> {
    return this.#queues.run(id, async () => {
      const snapshot = this.records.byId(id);
      if (!snapshot) throw new DriverError('not-found', `snapshot number ${id} does not exist`);
      const lowers = this.records.parents(snapshot).map((each) => this.home.part(each.id, 'fs'));
      return act(snapshot, this.home.part(id, 'fs'), lowers);
    });
  }

  /** Everything that clients have written to a mounted snapshot is in its upper. */
  flush(id: number): Promise<void> {
    return this.#unions.flush(this.home.part(id, 'fs'));
  }
}

/** `labels` after an update by `given`, as the fields of its mask say. */
function changeLabels(labels: Labels, given: Labels, fields: readonly string[]): Labels {
  if (fields.length === 0) return given;
  let changed: Record<string, string> = { ...labels };
  for (const path of fields) {
    if (path === 'labels') changed = { ...given };
    else if (path.startsWith('labels.')) {
      const key = path.slice('labels.'.length);
      changed[key] = Object.hasOwn(given, key) ? given[key] : '';
    } else throw new DriverError('invalid-argument', `${path} of a snapshot cannot be updated`);
  }
  return changed;
}

/** A field as a filter names it. */
function field(info: Info, [name, ...more]: readonly string[]): string | undefined {
  if (name === 'kind') return info.kind;
  if (name === 'name') return info.name;
  if (name === 'parent') return info.parent;
  const key = more.join('.');
  return name === 'labels' && Object.hasOwn(info.labels, key) ? info.labels[key] : undefined;
}
