/**
 * The live mounts of this process, from request to end. Either a mount becomes live, or nothing of
 * it stays: no mount, no lock, no open layer.
 */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import type { MountStats } from '../wire/stats.js';
import { AT_FDCWD, OPEN_TREE_CLONE } from '../sys/constants.js';
import type { Native } from '../sys/native.js';
import { type Answer, bringUp, type LiveMount } from './bringUp.js';
import { type Checked, checkPlan } from './checks.js';
import { deferred } from '../base/deferred.js';
import { EngineWorker } from './engineWorker.js';
import { DirectoryLock } from './locks.js';
import { placesOf, statDevice } from '../sys/mountTable.js';
import type { MountPlan } from '../options/plan.js';
import type { FileId } from '../sys/paths.js';
import { WorkerPool } from './workerPool.js';
import { abortConnection, unmountPlace } from './unmount.js';
import type { MountInfo } from '../wire/control.js';
import type { Fixed } from './self.js';

/** A thread takes a core to start: not while whoever asked for a mount begins to use it, or asks for more. */
const SPARE_AFTER_MS = 100;
/** How long mounts on their way may hold up the end of the process, and then its idle threads. */
const PENDING_MS = 5000;
const STOP_MS = 1000;

interface PendingQuery {
  readonly mount: number;
  readonly resolve: (stats: MountStats | undefined) => void;
}

/** A private clone of the mount at `path` can be made, as openLayer makes one of a lower. */
function canClone(native: Native, path: string): boolean {
  const clone = native.openTree(AT_FDCWD, path, OPEN_TREE_CLONE);
  if (clone >= 0) native.close(clone);
  return clone >= 0;
}

export class Mounts {
  readonly #native: Native;
  readonly #self: Fixed;
  readonly #pool: WorkerPool;
  readonly #all = new Map<number, LiveMount>();
  readonly #pending = new Set<Promise<void>>();
  readonly #queries = new Map<number, PendingQuery>();
  readonly #onEnd: () => void;
  readonly #log: (line: string) => void;
  #counter = 0;
  #spare: NodeJS.Timeout | undefined;
  #stopping = false;

  /** `onEnd` is called after each mount that ends; `log` takes one line for the operator. */
  constructor(native: Native, self: Fixed, onEnd: () => void, log: (line: string) => void) {
    this.#native = native;
    this.#self = self;
    this.#onEnd = onEnd;
    this.#log = log;
    this.#pool = new WorkerPool(availableParallelism(), () => this.#startWorker());
    this.#pool.provide();
  }

  /** Mounts of this process, on the way or live. */
  get size(): number {
    return this.#all.size;
  }

  list(): MountInfo[] {
    const { pid, version, build, path, namespace } = this.#self;
    const served = { pid, version, build, path, namespace };
    return [...this.#all.values()]
      .filter((mount) => mount.device !== '')
      .map(({ plan: { spec }, checked, device }) => ({
        mountpoint: checked.mountpoint,
        device,
        lowers: spec.lowers,
        ...(spec.dataLayers === undefined ? {} : { dataLayers: spec.dataLayers }),
        ...(spec.upper === undefined ? {} : { upper: spec.upper }),
        ...(spec.work === undefined ? {} : { work: spec.work }),
        readOnly: spec.readOnly,
        ...served,
      }));
  }

  /** Makes the mount live; throws UserError, with nothing left behind, when that fails. */
  async mount(asked: MountPlan): Promise<MountInfo> {
    const checked = checkPlan(asked, {
      layersOf: (device) => this.#byDevice(device)?.checked.devices,
      clones: (path) => canClone(this.#native, path),
    });
    await this.#flush(checked);
    const live = await this.#seenLive(asked, checked);
    const plan: MountPlan = live ? { ...asked, spec: { ...asked.spec, live: true } } : asked;
    const locks = await this.#lock(plan, checked);
    const mount = this.#place(plan, checked, locks);
    const up = bringUp(this.#native, mount, this.#log);
    this.#pending.add(up);
    try {
      await up;
    } catch (error) {
      this.#drop(mount);
      throw error;
    } finally {
      this.#pending.delete(up);
    }
    this.#provideSoon();
    const info = this.list().find(({ device }) => device === mount.device);
    if (!info) throw new UserError(`${display(checked.mountpoint)} was unmounted at once`);
    return info;
  }

  /** Counters of the mount with this device; undefined when there is none. */
  async stats(device: string): Promise<MountStats | undefined> {
    const mount = this.#byDevice(device);
    if (!mount) return undefined;
    const query = ++this.#counter;
    const { promise, resolve } = deferred<MountStats | undefined>();
    this.#queries.set(query, { mount: mount.number, resolve });
    mount.thread.post({ kind: 'stats', mount: mount.number, query });
    return promise;
  }

  /** Waits until an unmounted file system has been given up; at once when it is still mounted here. */
  async ended(device: string): Promise<void> {
    const mount = this.#byDevice(device);
    if (mount && placesOf(device).length === 0) await mount.ended;
  }

  /**
   * Unmounts everything, the newest first (a newer one may have its layers on an older one): what
   * is busy is synced and detached, and ends when this process does. Resolves when all is done.
   */
  async unmountAll(): Promise<void> {
    // One that is on its way must be seen through: cut off, it would leave a dead mount behind.
    await Promise.race([
      Promise.allSettled(this.#pending),
      sleep(PENDING_MS, undefined, { ref: false }),
    ]);
    for (const mount of [...this.#all.values()].reverse()) {
      if (mount.device === '') continue;
      let clean = true;
      for (const place of placesOf(mount.device)) {
        clean = (await unmountPlace(this.#native, place, this.#log)) && clean;
      }
      // Held open or mounted in another namespace, too: then it ends with this process.
      await Promise.race([mount.ended, sleep(clean ? 2000 : 200, undefined, { ref: false })]);
    }
  }

  /** Ends the idle threads; resolves when they are gone, or a little later without them. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const idle = [...this.#pool.threads].filter((thread) => thread.mounts.size === 0);
    const gone = idle.map(async (thread) => {
      // A thread that never came up is gone already.
      await Promise.race([thread.ready, thread.gone]).catch(() => undefined);
      if (!thread.dead) thread.post({ kind: 'stop' });
      await thread.gone;
    });
    await Promise.race([Promise.all(gone), sleep(STOP_MS)]);
  }

  // --- on the way up -------------------------------------------------------------------------

  #place(plan: MountPlan, checked: Checked, locks: readonly DirectoryLock[]): LiveMount {
    const number = ++this.#counter;
    const layerThreads = new Set<EngineWorker>();
    for (const other of this.#all.values()) {
      if (other.device !== '' && checked.devices.has(statDevice(other.device))) {
        layerThreads.add(other.thread);
      }
    }
    const thread = this.#pool.place(number, layerThreads, plan.spec.lowers.join('\0'));
    const { promise: ended, resolve: end } = deferred();
    const mount: LiveMount = {
      number,
      plan,
      checked,
      thread,
      locks,
      device: '',
      next: undefined,
      ended,
      end,
    };
    this.#all.set(number, mount);
    return mount;
  }

  /** The mount only reads an upper that another mount changes. */
  async #seenLive({ spec: { upper } }: MountPlan, checked: Checked): Promise<boolean> {
    const { readUpperId, readUpperChanges } = checked;
    if (upper === undefined || readUpperId === undefined) return false;
    if (readUpperChanges) return true;
    return DirectoryLock.isTaken(this.#native, upper, () => this.#userOf(readUpperId));
  }

  async #lock(plan: MountPlan, checked: Checked): Promise<readonly DirectoryLock[]> {
    const { upper, work } = plan.spec;
    if (checked.upperId === undefined || upper === undefined || work === undefined) return [];
    const held: DirectoryLock[] = [];
    const take = async (role: string, path: string, id: FileId | undefined): Promise<void> => {
      held.push(await DirectoryLock.take(this.#native, role, path, () => this.#userOf(id)));
    };
    try {
      await take('upperdir', upper, checked.upperId);
      await take('workdir', work, checked.workId);
    } catch (error) {
      for (const lock of held) lock.release();
      throw error;
    }
    return held;
  }

  /** The mount point of the mount of ours that changes directory `id` and is still mounted. */
  #userOf(id: FileId | undefined): string | undefined {
    for (const { device, checked } of this.#all.values()) {
      if (checked.upperId !== id && checked.workId !== id) continue;
      // The number alone is not enough: the kernel gives it to the next file system at once.
      if (device !== '' && placesOf(device).includes(checked.mountpoint)) return checked.mountpoint;
    }
    return undefined;
  }

  /** What a live mount has not yet written to its upper must be seen by a mount that reads it. */
  async #flush(checked: Checked): Promise<void> {
    for (const { device, checked: other } of [...this.#all.values()]) {
      if (device === '' || other.upperId === undefined) continue;
      if (!checked.readIds.has(other.upperId)) continue;
      const result = await this.#native.syncPath(other.mountpoint);
      if (result < 0) this.#log(`cannot sync ${display(other.mountpoint)}: ${errnoText(result)}`);
    }
  }

  // --- on the way down -----------------------------------------------------------------------

  #drop(mount: LiveMount): void {
    if (!this.#all.delete(mount.number)) return;
    this.#pool.remove(mount.number);
    for (const lock of mount.locks) lock.release();
    for (const [query, { mount: number, resolve }] of this.#queries) {
      if (number !== mount.number) continue;
      this.#queries.delete(query);
      resolve(undefined);
    }
    mount.end();
    this.#onEnd();
  }

  // --- the threads ---------------------------------------------------------------------------

  #provideSoon(): void {
    this.#spare ??= setTimeout(() => {
      this.#spare = undefined;
      if (!this.#stopping) this.#pool.provide();
    }, SPARE_AFTER_MS).unref();
  }

  #startWorker(): EngineWorker {
    return new EngineWorker(
      this.#native,
      (answer) => {
        this.#heard(answer);
      },
      ({ query, stats }) => {
        this.#queries.get(query)?.resolve(stats);
        this.#queries.delete(query);
      },
      (thread, reason) => {
        this.#workerDied(thread, reason);
      },
    );
  }

  #heard(answer: Answer): void {
    const mount = this.#all.get(answer.mount);
    if (!mount) return;
    if (mount.next) mount.next(answer);
    else if (answer.kind === 'ended') this.#drop(mount);
    else if (answer.kind === 'failed') this.#log(answer.message);
  }

  /** A bug in the engine. Its callers hang in the kernel unless their connections are cut. */
  #workerDied(thread: EngineWorker, reason: Error): void {
    this.#log(`an engine thread died: ${reason.stack ?? reason.message}`);
    this.#pool.forget(thread);
    for (const mount of [...this.#all.values()].filter((each) => each.thread === thread)) {
      const message = `the engine failed: ${reason.message}`;
      if (mount.next) mount.next({ kind: 'failed', mount: mount.number, message });
      else {
        abortConnection(this.#native, mount.device, this.#log);
        this.#drop(mount);
      }
    }
  }

  #byDevice(device: string): LiveMount | undefined {
    for (const mount of this.#all.values()) if (mount.device === device) return mount;
    return undefined;
  }
}
