/**
 * The live mounts of this process, from request to end. Either a mount becomes live, or nothing of it stays:
 * no mount, no lock, no open layer.
 */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { display } from '../base/bytes.js';
import { E, errnoText, UserError } from '../base/errno.js';
import type { MountStats } from '../wire/stats.js';
import type { Native } from '../sys/native.js';
import { type Answer, askChecker, bringUp, type LiveMount } from './bringUp.js';
import type { Checked } from './checks.js';
import { deferred } from '../base/deferred.js';
import { endDetached, endGiven } from './detached.js';
import { freeElsewhere } from './elsewhere.js';
import { EngineWorker } from './engineWorker.js';
import { DirectoryLock } from './locks.js';
import { placesOf, statDevice } from '../sys/mountTable.js';
import type { MountPlan } from '../options/plan.js';
import type { FileId } from '../sys/paths.js';
import { probe, type Probed } from './probe.js';
import { within } from './within.js';
import { WorkerPool } from './workerPool.js';
import { abortConnection, unmountPlace } from './unmount.js';
import type { MountInfo } from '../wire/control.js';
import type { Fixed } from './self.js';

/** A thread takes a core to start: not while whoever asked for a mount begins to use it, or asks for more. */
const SPARE_AFTER_MS = 100;
/** How long mounts on their way may hold up the end of the process, and then its idle threads. */
const PENDING_MS = 5000;
const STOP_MS = 1000;
const SOON_MS = 200;
/** How many mounts that have ended are remembered, and for how long, for who asks after unmounting one. */
const OVER_MOST = 64;
const OVER_MS = 5000;
const STATS_MS = 5000;
/** As long as the writing of pages of another mount may take. */
const FLUSH_MS = 60_000;

interface PendingQuery {
  readonly mount: number;
  readonly resolve: (answer: { readonly stats: MountStats | undefined }) => void;
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
  /** When the mounts that ended last did so, by device; another file system may have one by now. */
  readonly #over = new Map<string, number>();
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
    this.#provide();
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
      .map(({ plan: { spec, mountpoint, givenFd }, checked, device }) => ({
        // Where the caller has mounted it is the caller's affair: it may be in another namespace.
        mountpoint:
          givenFd === undefined
            ? (checked?.mountpoint ?? mountpoint)
            : (placesOf(device).at(0) ?? mountpoint),
        device,
        lowers: spec.lowers,
        ...(spec.dataLayers === undefined ? {} : { dataLayers: spec.dataLayers }),
        ...(spec.upper === undefined ? {} : { upper: spec.upper }),
        ...(spec.work === undefined ? {} : { work: spec.work }),
        readOnly: spec.readOnly,
        ...(checked?.upperId === undefined ? {} : { upperId: checked.upperId }),
        ...(checked?.workId === undefined ? {} : { workId: checked.workId }),
        ...served,
      }));
  }

  /** Makes the mount live; throws UserError, with nothing left behind, when that fails. */
  async mount(asked: MountPlan): Promise<MountInfo> {
    const probed = await probe(this.#native, asked);
    const mount = this.#place(asked, probed);
    const up = this.#bringUp(mount);
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
    if (!info) throw new UserError(`${display(asked.mountpoint)} was unmounted at once`);
    return info;
  }

  async #bringUp(mount: LiveMount): Promise<void> {
    const { plan } = mount;
    const question = { kind: 'plan', plan, layers: this.#layers() } as const;
    const checked = (await askChecker(mount, this.#checkerFor(mount), question)) as Checked;
    mount.checked = checked;
    await this.#flush(checked);
    if (await this.#seenLive(plan, checked)) {
      mount.plan = { ...plan, spec: { ...plan.spec, live: true } };
    }
    await this.#lock(mount, checked);
    await bringUp(this.#native, mount, checked.mountpoint, this.#log);
  }

  /** Device of each live mount -> st_dev of its layers. */
  #layers(): Map<string, ReadonlySet<string>> {
    const layers = new Map<string, ReadonlySet<string>>();
    for (const { device, checked } of this.#all.values()) {
      if (device !== '' && checked) layers.set(device, checked.devices);
    }
    return layers;
  }

  /**
   * Counters of the mount with this device; undefined when there is none. Throws UserError when its
   * engine does not answer.
   */
  async stats(device: string): Promise<MountStats | undefined> {
    const mount = this.#byDevice(device);
    if (!mount) return undefined;
    const query = ++this.#counter;
    const { promise, resolve } = deferred<{ readonly stats: MountStats | undefined }>();
    this.#queries.set(query, { mount: mount.number, resolve });
    mount.thread.post({ kind: 'stats', mount: mount.number, query });
    const answer = await within(STATS_MS, promise);
    if (answer) return answer.stats;
    this.#queries.delete(query);
    const where = display(mount.checked?.mountpoint ?? '');
    throw new UserError(`the engine of ${where} does not answer: one of its layers hangs`);
  }

  /**
   * Waits until an unmounted file system of ours has been given up; at once when it is still mounted
   * here. False for one that is not ours.
   */
  async ended(device: string): Promise<boolean> {
    const mount = this.#byDevice(device);
    if (mount && placesOf(device).length === 0) await mount.ended;
    const over = this.#over.get(device) ?? -Infinity;
    return mount !== undefined || performance.now() - over < OVER_MS;
  }

  /** Resolves when the mount has ended, with how; at once when there is none of ours. */
  async gone(device: string): Promise<'unmounted' | 'died'> {
    await this.#byDevice(device)?.ended;
    return placesOf(device).length === 0 ? 'unmounted' : 'died';
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
      if (mount.plan.givenFd !== undefined) {
        await endGiven(this.#native, mount, this.#log);
        this.#drop(mount);
        continue;
      }
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

  /** Throws UserError where no engine thread can be started. */
  #place(plan: MountPlan, { devices, remote }: Probed): LiveMount {
    const number = ++this.#counter;
    const layerThreads = new Set<EngineWorker>();
    const ours = new Set<string>();
    for (const other of this.#all.values()) {
      if (other.device === '' || !devices.has(statDevice(other.device))) continue;
      ours.add(statDevice(other.device));
      layerThreads.add(other.thread);
    }
    const hangs = [...remote].some((device) => !ours.has(device));
    let thread: EngineWorker;
    try {
      thread = this.#pool.place(number, layerThreads, plan.spec.lowers.join('\0'), hangs);
    } catch (error) {
      throw new UserError(`cannot start an engine thread: ${String(error)}`);
    }
    const { promise: ended, resolve: end } = deferred();
    const mount: LiveMount = {
      number,
      plan,
      thread,
      checked: undefined,
      locks: [],
      device: '',
      deviceFd: -1,
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

  /** What is taken before something fails is given back with the mount (#drop). */
  async #lock(mount: LiveMount, checked: Checked): Promise<void> {
    const { upper, work } = mount.plan.spec;
    if (checked.upperId === undefined || upper === undefined || work === undefined) return;
    await this.#freeDetached(checked);
    const take = async (role: string, path: string, id: FileId | undefined): Promise<void> => {
      const users = {
        here: () => this.#userOf(id),
        elsewhere: () => freeElsewhere(id ?? ''),
      };
      const lock = await DirectoryLock.take(this.#native, role, path, users);
      mount.locks = [...mount.locks, lock];
    };
    await take('upperdir', upper, checked.upperId);
    await take('workdir', work, checked.workId);
    await askChecker(mount, this.#checkerFor(mount), { kind: 'volatile', work });
  }

  /** Mounts of ours that hold the upper or the workdir, and are in no place any more, end. */
  async #freeDetached({ upperId, workId }: Checked): Promise<void> {
    for (const other of [...this.#all.values()]) {
      const { device, checked } = other;
      if (device === '' || !checked || other.next) continue;
      if (checked.upperId !== upperId && checked.workId !== workId) continue;
      if (placesOf(device).length === 0) await this.#end(other);
    }
  }

  /** One that was just unmounted ends by itself. Throws UserError when it cannot be ended without loss. */
  async #end(mount: LiveMount): Promise<void> {
    const over = mount.ended.then(() => true);
    if ((await within(SOON_MS, over)) === true) return;
    await endDetached(this.#native, mount, this.#log);
    this.#drop(mount);
  }

  /**
   * Another host asks for the upper of the mount with this device: it ends, when it is in no place any more.
   * Throws UserError otherwise.
   */
  async free(device: string): Promise<void> {
    const mount = this.#byDevice(device);
    if (!mount || mount.next) return;
    const place = placesOf(device).at(0);
    if (place !== undefined) throw new UserError(`it is mounted on ${display(place)}`);
    await this.#end(mount);
  }

  /** A thread that serves nothing yet: what is asked there may lead to a mount of ours. Throws UserError. */
  #checkerFor({ thread }: LiveMount): EngineWorker {
    if (thread.mounts.size === 1) return thread;
    try {
      return this.#pool.checker();
    } catch (error) {
      throw new UserError(`cannot start a thread to look at the layers: ${String(error)}`);
    }
  }

  /** The mount point of the mount of ours that changes directory `id` and is still mounted. */
  #userOf(id: FileId | undefined): string | undefined {
    for (const { device, checked } of this.#all.values()) {
      if (!checked || (checked.upperId !== id && checked.workId !== id)) continue;
      // The number alone is not enough: the kernel gives it to the next file system at once.
      const places = device === '' ? [] : placesOf(device);
      if (places.length > 0) return places.find((at) => at === checked.mountpoint) ?? places[0];
    }
    return undefined;
  }

  /** What a live mount has not yet written to its upper must be seen by a mount that reads it. */
  async #flush(checked: Checked): Promise<void> {
    for (const { device, checked: other } of [...this.#all.values()]) {
      if (device === '' || other?.upperId === undefined) continue;
      if (!checked.readIds.has(other.upperId)) continue;
      // It may be mounted elsewhere only: taken off its first place, it serves its binds.
      const place = placesOf(device).at(0);
      if (place === undefined) continue;
      const result = await within(FLUSH_MS, this.#native.syncPath(place));
      if (result === undefined) {
        throw new UserError(
          `the mount on ${display(other.mountpoint)}, whose upper is a layer here, does not write what it holds: look at its layers`,
        );
      }
      // ENOTCONN: its connection was aborted; there is nothing left to write.
      if (result >= 0 || result === -E.ENOTCONN) continue;
      throw new UserError(`cannot sync ${display(other.mountpoint)}: ${errnoText(result)}`);
    }
  }

  // --- on the way down -----------------------------------------------------------------------

  #drop(mount: LiveMount): void {
    if (!this.#all.delete(mount.number)) return;
    this.#pool.remove(mount.number);
    this.#remember(mount.device);
    for (const lock of mount.locks) lock.release();
    for (const [query, { mount: number, resolve }] of this.#queries) {
      if (number !== mount.number) continue;
      this.#queries.delete(query);
      resolve({ stats: undefined });
    }
    mount.end();
    this.#onEnd();
  }

  #remember(device: string): void {
    if (device === '') return;
    this.#over.delete(device);
    this.#over.set(device, performance.now());
    const [oldest] = this.#over.keys();
    if (this.#over.size > OVER_MOST) this.#over.delete(oldest);
  }

  // --- the threads ---------------------------------------------------------------------------

  /** A spare thread that cannot be had now is started when it is needed. */
  #provide(): void {
    try {
      this.#pool.provide();
    } catch (error) {
      this.#log(`cannot start an engine thread ahead of time: ${String(error)}`);
    }
  }

  #provideSoon(): void {
    this.#spare ??= setTimeout(() => {
      this.#spare = undefined;
      if (!this.#stopping) this.#provide();
    }, SPARE_AFTER_MS).unref();
  }

  #startWorker(): EngineWorker {
    return new EngineWorker(
      this.#native,
      (answer) => {
        this.#heard(answer);
      },
      ({ query, stats }) => {
        this.#queries.get(query)?.resolve({ stats });
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
        void abortConnection(this.#native, mount.device, this.#log).then(() => {
          this.#drop(mount);
        });
      }
    }
  }

  #byDevice(device: string): LiveMount | undefined {
    for (const mount of this.#all.values()) if (mount.device === device) return mount;
    return undefined;
  }
}
