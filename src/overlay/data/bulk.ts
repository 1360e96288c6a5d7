/**
 * Copies large data of copy-ups in the I/O pool.
 *
 * The request that needs the data stops with PARKED before it has changed anything. So does every other
 * request that would change the same file. When the data is copied, these requests are served one after the
 * other from their beginning, as if they had just arrived; the first of them finds the copy ready. So no
 * request has to remember its progress, and each sees what has happened to the file meanwhile.
 */
import { E, errnoName, PARKED } from '../../base/errno.js';
import { AT_EMPTY_PATH, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import { savedSize, type Stat } from '../../sys/stat.js';
import type { Sys } from '../../sys/sys.js';
import { setTimes } from '../../sys/times.js';

/** What COPY_FILE_RANGE asks for. Offsets are u64: low and high word. */
interface RangeCopy {
  readonly fdIn: number;
  readonly inOff: readonly [number, number];
  /** The node that is written to, and its descriptor. */
  readonly node: number;
  readonly fdOut: number;
  readonly outOff: readonly [number, number];
  readonly size: number;
}

/** The pool of the thread that serves a mount; absent where requests are not the kernel's (tests). */
interface Pool {
  /** See Native.poolCopy. */
  copy(
    fdIn: number,
    fdOut: number,
    size: readonly [number, number],
    sync: boolean,
    keepSize: boolean,
  ): number;
  cancel(job: number): void;
  /** Answers the request that is being served; false: it must be done here. */
  sync(fd: number, dataOnly: boolean): boolean;
  range(copy: RangeCopy): boolean;
  /** fallocate(2) of a node's file; statfs(2): as `sync`. */
  allocate(
    node: number,
    fd: number,
    mode: number,
    at: readonly [number, number],
    size: readonly [number, number],
  ): boolean;
  statfs(fd: number): boolean;
}

/** Smaller data is copied at once: handing it over and back would take about as long. */
export const BULK_LEAST = 1 << 20;

/** A request that waits: what to call when the copy has ended. */
export type Resume = () => void;

export interface BulkCopy {
  readonly job: number;
  node: number;
  readonly fdIn: number;
  readonly fdOut: number;
  /** Bytes copied from the beginning of the file, also as the words of a u64: above 2^53 `size` is rounded. */
  readonly size: number;
  readonly words: readonly [number, number];
  /** Its name in the workdir; "": the upper file of a metadata-only copy gets its data in place. */
  readonly temp: string;
  /** In place: what statx told of the file, whose times must not be seen to change. */
  readonly stat: Uint32Array | undefined;
  readonly waiting: Set<Resume>;
  /** 0 or -errno once it has ended. */
  result: number | undefined;
  /** Somebody has taken the result over. */
  taken: boolean;
}

/**
 * Makes a hole of what the upper file of a metadata-only copy holds, which does not count. Its size does:
 * it is what is shown, so the file must not be shorter for a moment, in which the power may fail.
 */
export function punch(sys: Sys, fd: number, lo: number, hi: number): number {
  if (lo === 0 && hi === 0) return 0;
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const code = sys.native.fallocate(fd, mode, 0, 0, lo, hi);
  // EOPNOTSUPP: no holes there; the data goes over it, as the kernel's does.
  return code === -E.EOPNOTSUPP ? 0 : code;
}

export class BulkCopies {
  readonly #sys: Sys;
  readonly #workDir: () => number;
  readonly #byNode = new Map<number, BulkCopy>();
  readonly #byJob = new Map<number, BulkCopy>();
  /** What the request that has just stopped with PARKED waits for. */
  #awaited: BulkCopy | undefined;
  pool: Pool | undefined;

  constructor(sys: Sys, workDir: () => number) {
    this.#sys = sys;
    this.#workDir = workDir;
  }

  /** Copies under way. */
  get size(): number {
    return this.#byJob.size;
  }

  /** The copy of a node's data, on its way or just ended. */
  of(node: number): BulkCopy | undefined {
    return this.#byJob.size === 0 ? undefined : this.#byNode.get(node);
  }

  /** PARKED when a change of `node` must wait, else 0. */
  check(node: number): number {
    const copy = this.of(node);
    return copy?.result === undefined && copy !== undefined ? this.#wait(copy) : 0;
  }

  /** The ended copy of `size` bytes or more of a node's data, which is the caller's from now on. */
  take(node: number, size: number): BulkCopy | undefined {
    const copy = this.of(node);
    if (copy?.result === undefined || copy.result === -E.ECANCELED) return undefined;
    // A failure is everybody's who waited.
    if (copy.result < 0) return copy;
    if (copy.taken || copy.size < size) return undefined;
    copy.taken = true;
    return copy;
  }

  /**
   * Starts the copy of a node's data; PARKED. Takes the descriptors over. 0: there is no pool for it,
   * and they are the caller's again.
   */
  start(
    node: number,
    what: Pick<BulkCopy, 'fdIn' | 'fdOut' | 'size' | 'words' | 'temp'>,
    sync: boolean,
    stat?: Uint32Array,
  ): number {
    const { fdIn, fdOut, words, temp } = what;
    const job = this.pool?.copy(fdIn, fdOut, words, sync, temp === '') ?? -E.EAGAIN;
    if (job < 0) return job === -E.EAGAIN ? 0 : job;
    const copy: BulkCopy = {
      ...what,
      ...{ job, node, stat },
      waiting: new Set(),
      result: undefined,
      taken: false,
    };
    this.#byJob.set(job, copy);
    this.#byNode.set(node, copy);
    return this.#wait(copy);
  }

  /** Waits for a copy into an upper file whose node the kernel has forgotten meanwhile: it may be the same file. */
  checkStray(): number {
    if (this.#byJob.size === 0) return 0;
    for (const copy of this.#byJob.values()) {
      if (copy.temp === '' && this.#byNode.get(copy.node) !== copy) return this.#wait(copy);
    }
    return 0;
  }

  #wait(copy: BulkCopy): number {
    this.#awaited = copy;
    return PARKED;
  }

  /** The request that stopped with PARKED goes on with `resume`. Returns what takes it off again. */
  park(resume: Resume): () => void {
    const copy = this.#awaited;
    this.#awaited = undefined;
    copy?.waiting.add(resume);
    return () => {
      if (copy === undefined) return;
      copy.waiting.delete(resume);
      if (copy.waiting.size === 0 && copy.result === undefined) this.pool?.cancel(copy.job);
    };
  }

  /** Job `number` has ended; false when it is none of this mount. */
  done(number: number, result: number): boolean {
    const copy = this.#byJob.get(number);
    if (!copy) return false;
    const { native } = this.#sys;
    copy.result = result;
    if (copy.stat) this.#restore(copy, copy.stat);
    native.close(copy.fdIn);
    native.close(copy.fdOut);
    const unlink = (): void => {
      if (copy.temp !== '') native.unlinkat(this.#workDir(), copy.temp, 0);
    };
    // Before they hear of it: then there is room again.
    if (result < 0) unlink();
    for (const resume of [...copy.waiting]) resume();
    this.#byJob.delete(number);
    if (this.#byNode.get(copy.node) === copy) this.#byNode.delete(copy.node);
    if (!copy.taken && result >= 0) unlink();
    return true;
  }

  /** An upper file that was written to: its times, and after a failure its holes. */
  #restore(copy: BulkCopy, stat: Uint32Array): void {
    if ((copy.result ?? 0) < 0) {
      // Best effort, for the room it takes.
      punch(this.#sys, copy.fdOut, ...savedSize(stat));
    }
    const { probe } = this.#sys.stats;
    probe.load(stat);
    const code = setTimes(this.#sys, probe, copy.fdOut, '', AT_EMPTY_PATH);
    if (code < 0) log(`the times of a file that was copied up are lost: ${errnoName(code)}`);
  }

  /** While data is copied in place, a file shows the times of before. */
  shadow(node: number, shown: Stat): void {
    const stat = this.of(node)?.stat;
    if (stat) shown.loadTimes(stat);
  }

  /** `successor` is what the node was. */
  moved(node: number, successor: number): void {
    const copy = this.of(node);
    if (!copy) return;
    this.#byNode.delete(node);
    this.#byNode.set(successor, copy);
    copy.node = successor;
  }

  /** The node ends: nobody waits for its data any more. */
  dropped(node: number): void {
    const copy = this.of(node);
    if (!copy) return;
    this.#byNode.delete(node);
    this.pool?.cancel(copy.job);
  }
}
