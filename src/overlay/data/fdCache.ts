/**
 * The descriptors an engine thread keeps, within RLIMIT_NOFILE: least recently used ones are closed
 * and opened again from the layer's root when they are needed. One cache serves all mounts of the
 * thread.
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

const ID_RANGE = 0x1_0000_0000;
const KINDS = 4;
/** More descriptors than one request looks up in the cache. */
const IN_USE = 16;

export class FdCache {
  readonly #native: Native;
  readonly #cache: LRUCache<number, number>;
  readonly #owners = new Map<number, FileClosing>();
  /** Taken out of the cache, but maybe in use by the request that is being served. */
  readonly #retired: number[] = [];
  /** A request found no descriptor, and none could be closed under it: all go after it. */
  #starved = false;
  #nextOwner = 1;
  /** Descriptors asked for that were, and were not, still open. */
  hits = 0;
  misses = 0;

  /** `max`: descriptors kept open at most. */
  constructor(native: Native, max: number) {
    this.#native = native;
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
   * Closes, at once, the half not used for longest, but none of the newest, which the request being
   * served may hold; false when there are no others.
   */
  readonly shrink = (): boolean => {
    const { size } = this.#cache;
    const count = Math.min(Math.ceil(size / 2), size - IN_USE);
    for (let i = 0; i < count; i++) this.#cache.pop();
    const closed = this.#retired.splice(0, Math.max(0, this.#retired.length - IN_USE));
    for (const fd of closed) this.#native.close(fd);
    this.#starved = closed.length === 0;
    return !this.#starved;
  };

  get(owner: number, kind: FdKind, id: number): number | undefined {
    const fd = this.#cache.get((owner * KINDS + kind) * ID_RANGE + id);
    if (fd === undefined) this.misses++;
    else this.hits++;
    return fd;
  }

  /** As get, but that is no use of it. */
  has(owner: number, kind: FdKind, id: number): boolean {
    return this.#cache.has((owner * KINDS + kind) * ID_RANGE + id);
  }

  put(owner: number, kind: FdKind, id: number, fd: number): void {
    this.#cache.set((owner * KINDS + kind) * ID_RANGE + id, fd);
  }

  drop(owner: number, kind: FdKind, id: number): void {
    this.#cache.delete((owner * KINDS + kind) * ID_RANGE + id);
  }

  #dispose(fd: number, key: number): void {
    const id = key % ID_RANGE;
    const rest = Math.floor(key / ID_RANGE);
    if (rest % KINDS === FdKind.File) {
      this.#owners.get(Math.floor(rest / KINDS))?.(id);
    }
    this.#retired.push(fd);
  }

  /** Closes what was taken out; to be called between requests. */
  flush(): void {
    if (this.#starved) {
      this.#starved = false;
      this.#cache.clear();
    }
    while (this.#retired.length > 0) this.#native.close(this.#retired.pop() ?? -1);
  }
}
