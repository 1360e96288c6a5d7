/**
 * The descriptors that an engine thread keeps, within RLIMIT_NOFILE. The least recently used ones are closed,
 * and opened again from the layer's root when they are needed. One cache serves all mounts of a thread, and
 * all threads share one budget (native/budget.h).
 *
 * A request borrows the descriptors it asks for. Nothing closes a borrowed one before the request ends
 * (`flush`) or gives it back (`release`), so its number cannot become another file's meanwhile.
 */
import { LRUCache } from 'lru-cache';
import type { Native } from '../../sys/native.js';

export const FdKind = {
  /** O_PATH descriptor of a directory in the upper; id = node. */
  UpperDir: 0,
  /** O_PATH descriptor of a directory in a lower; id = place. */
  LowerDir: 1,
  /** Descriptor of a regular file's data; id = node. */
  File: 2,
} as const;
export type FdKind = (typeof FdKind)[keyof typeof FdKind];

/** Told before a File descriptor is closed. */
type FileClosing = (node: number) => void;

/** What the cache needs of the addon. */
type FdPort = Pick<Native, 'close' | 'budgetKept' | 'budgetJoin' | 'budgetCall' | 'budgetWait'>;

const ID_RANGE = 0x1_0000_0000;
const KINDS = 4;
/** How long a thread waits for what others give up. One that waits for us in turn cannot. */
const WAIT_MS = 100;
/** Descriptors put in while the budget is exceeded, before the other threads are called again. */
const CALL_EACH = 64;

export class FdCache {
  readonly #native: FdPort;
  readonly #max: number;
  readonly #cache: LRUCache<number, number>;
  readonly #owners = new Map<number, FileClosing>();
  /** Taken out of the cache, and not closed yet. */
  #retired: number[] = [];
  /** What the request has borrowed, in order. */
  #borrowed = new Uint32Array(64);
  #count = 0;
  /** 1 for a descriptor that is borrowed, by its number. */
  #inUse = new Uint8Array(1024);
  #nextOwner = 1;
  #calls: number;
  #sinceCall = 0;
  /** Descriptors asked for that were, and were not, still open. */
  hits = 0;
  misses = 0;

  /** `max`: descriptors that all threads of the process together keep open at most. */
  constructor(native: FdPort, max: number) {
    this.#native = native;
    this.#max = max;
    native.budgetJoin();
    this.#calls = native.budgetCall(false);
    this.#cache = new LRUCache<number, number>({
      max,
      dispose: (fd, key) => {
        this.#dispose(fd, key);
      },
    });
  }

  get size(): number {
    return this.#cache.size;
  }

  /** A number for one mount's entries; `closing` is called before one of its File descriptors is closed. */
  register(closing: FileClosing): number {
    const owner = this.#nextOwner++;
    this.#owners.set(owner, closing);
    return owner;
  }

  /** Closes all of a mount's descriptors. */
  unregister(owner: number): void {
    for (const key of [...this.#cache.keys()]) {
      if (Math.floor(key / (ID_RANGE * KINDS)) === owner) this.#cache.delete(key);
    }
    this.#owners.delete(owner);
    this.flush();
  }

  /**
   * The process has no more descriptors. Closes, at once, half of those here that nobody has borrowed,
   * the ones not used for longest; when there are none, the other threads are asked for theirs. False
   * when nobody has any.
   */
  readonly shrink = (): boolean => {
    if (this.#closeIdle(Math.ceil(this.#cache.size / 2)) > 0) return true;
    const kept = this.#native.budgetKept(0);
    if (kept <= this.#cache.size) return false;
    this.#calls = this.#native.budgetCall(true);
    return this.#native.budgetWait(kept, WAIT_MS) < kept;
  };

  /** Another thread may have called for descriptors: gives half of those here up. Between requests. */
  answerCalls(): void {
    const calls = this.#native.budgetCall(false);
    if (calls === this.#calls) return;
    this.#calls = calls;
    this.flush();
    this.#closeIdle(Math.ceil(this.#cache.size / 2));
  }

  get(owner: number, kind: FdKind, id: number): number | undefined {
    const fd = this.#cache.get((owner * KINDS + kind) * ID_RANGE + id);
    if (fd === undefined) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    this.#borrow(fd);
    return fd;
  }

  /** As get, but that is no use of it. */
  has(owner: number, kind: FdKind, id: number): boolean {
    return this.#cache.has((owner * KINDS + kind) * ID_RANGE + id);
  }

  /** Keeps a descriptor, which the request has borrowed from then on. */
  put(owner: number, kind: FdKind, id: number, fd: number): void {
    this.#borrow(fd);
    const kept = this.#native.budgetKept(1);
    this.#cache.set((owner * KINDS + kind) * ID_RANGE + id, fd);
    if (kept > this.#max) this.#makeRoom();
  }

  drop(owner: number, kind: FdKind, id: number): void {
    this.#cache.delete((owner * KINDS + kind) * ID_RANGE + id);
  }

  // --- borrowing ---------------------------------------------------------------------------
  #borrow(fd: number): void {
    if (this.#inUse[fd] === 1) return;
    if (this.#count === this.#borrowed.length) this.#borrowed = grown(this.#borrowed, this.#count);
    if (fd >= this.#inUse.length) this.#inUse = grown(this.#inUse, fd);
    this.#borrowed[this.#count++] = fd;
    this.#inUse[fd] = 1;
  }

  /** For `release`: what is borrowed from now on. */
  mark(): number {
    return this.#count;
  }

  /** Gives back what was borrowed since `mark`, and was not before. */
  release(mark: number): void {
    while (this.#count > mark) this.#inUse[this.#borrowed[--this.#count]] = 0;
  }

  // --- closing -----------------------------------------------------------------------------
  #dispose(fd: number, key: number): void {
    const id = key % ID_RANGE;
    const rest = Math.floor(key / ID_RANGE);
    if (rest % KINDS === FdKind.File) {
      this.#owners.get(Math.floor(rest / KINDS))?.(id);
    }
    this.#retired.push(fd);
  }

  /** Threads keep more than all may: this one gives up its oldest, and others that have more than it. */
  #makeRoom(): void {
    const share = Math.floor(this.#max / this.#native.budgetJoin());
    if (this.#cache.size > share) {
      this.#closeIdle(1);
    } else if (++this.#sinceCall >= CALL_EACH) {
      this.#sinceCall = 0;
      this.#calls = this.#native.budgetCall(true);
    }
  }

  /** Closes up to `count` that are not borrowed, the oldest first; returns how many were closed. */
  #closeIdle(count: number): number {
    const idle: number[] = [];
    for (const key of this.#cache.rkeys()) {
      if (idle.length >= count) break;
      const fd = this.#cache.peek(key);
      if (fd !== undefined && this.#inUse[fd] !== 1) idle.push(key);
    }
    for (const key of idle) this.#cache.delete(key);
    const before = this.#retired.length;
    const borrowed = this.#retired.filter((fd) => this.#inUse[fd] === 1);
    for (const fd of this.#retired) if (this.#inUse[fd] !== 1) this.#close(fd);
    this.#retired = borrowed;
    return before - borrowed.length;
  }

  #close(fd: number): void {
    this.#native.close(fd);
    this.#native.budgetKept(-1);
  }

  /** The request has ended: closes what was taken out; to be called between requests. */
  flush(): void {
    this.release(0);
    while (this.#retired.length > 0) this.#close(this.#retired.pop() ?? -1);
  }
}

/** A longer copy, with room for `index` at least. */
function grown<T extends Uint8Array | Uint32Array>(from: T, index: number): T {
  const length = Math.max(from.length * 2, index + 1);
  const to = new (from.constructor as new (length: number) => T)(length);
  to.set(from);
  return to;
}
