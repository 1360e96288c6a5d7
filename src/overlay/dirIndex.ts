/**
 * The merged listing of a directory, kept while it is in use: names with their type, where the
 * topmost object lies and its inode number. It answers readdir in cookie order and, once it is
 * there, lookups of names that do not exist. Changes made through the mount are applied to it.
 */
import { LRUCache } from 'lru-cache';
import { cookieOf } from '../base/hash.js';

/** Entries kept over all directories of a mount, about 100 bytes each. */
const MAX_ENTRIES = 500_000;

/** Where an entry's topmost object is: 0 the upper, i + 1 the i-th lower of the directory's stack. */
export const FROM_UPPER = 0;

export class DirIndex {
  readonly #slots = new Map<string, number>();
  /** Slots of removed names. */
  readonly #free: number[] = [];
  readonly #types: number[] = [];
  readonly #sources: number[] = [];
  /** Of a directory: the lowest source that counts. */
  readonly #lasts: number[] = [];
  /** Inode numbers as shown; -1 in `lo` when a lookup must tell. */
  readonly #inoLo: number[] = [];
  readonly #inoHi: number[] = [];
  #names: string[] | undefined;
  #cookies: Float64Array = new Float64Array(0);
  /** Entries it had when room was made for it; it may have twice as many before more is made. */
  counted = 1;

  get size(): number {
    return this.#slots.size;
  }

  slot(name: string): number | undefined {
    return this.#slots.get(name);
  }
  type(slot: number): number {
    return this.#types[slot];
  }
  source(slot: number): number {
    return this.#sources[slot];
  }
  /** Where the lowest directory of this name lies that is merged into it. */
  last(slot: number): number {
    return this.#lasts[slot];
  }
  inoLo(slot: number): number {
    return this.#inoLo[slot];
  }
  inoHi(slot: number): number {
    return this.#inoHi[slot];
  }
  /** False: only a lookup tells the inode number this entry is shown with. */
  inoKnown(slot: number): boolean {
    return this.#inoLo[slot] >= 0;
  }
  names(): IterableIterator<string> {
    return this.#slots.keys();
  }

  put(name: string, type: number, source: number, inoLo: number, inoHi: number): void {
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = this.#free.pop() ?? this.#types.length;
      this.#slots.set(name, slot);
      this.#names = undefined;
    }
    this.#types[slot] = type;
    this.#sources[slot] = source;
    this.#lasts[slot] = source;
    this.#inoLo[slot] = inoLo;
    this.#inoHi[slot] = inoHi;
  }

  /** One more source of a directory, below the others. */
  merge(slot: number, source: number): void {
    this.#lasts[slot] = source;
  }

  /** A lookup has told the number an entry is shown with. */
  setIno(slot: number, inoLo: number, inoHi: number): void {
    this.#inoLo[slot] = inoLo;
    this.#inoHi[slot] = inoHi;
  }

  /** The entry has an upper object now; a directory keeps its lowers below it. */
  copiedUp(name: string, inoLo: number, inoHi: number): void {
    const slot = this.#slots.get(name);
    if (slot === undefined) return;
    this.#sources[slot] = FROM_UPPER;
    this.#inoLo[slot] = inoLo;
    this.#inoHi[slot] = inoHi;
  }

  /** The name stays in the order until that is built anew: a listing under way skips it. */
  remove(name: string): void {
    const slot = this.#slots.get(name);
    if (slot === undefined) return;
    this.#slots.delete(name);
    this.#free.push(slot);
  }

  /** Names in cookie order; some may have been removed. */
  order(): readonly string[] {
    if (!this.#names) this.#sort();
    return this.#names ?? [];
  }

  /** Cookie of the `i`-th name of `order`: after it, a listing goes on with the next. */
  cookie(i: number): number {
    return this.#cookies[i];
  }

  /** First position in `order` with a cookie above `cookie`. */
  after(cookie: number): number {
    let low = 0;
    let high = this.order().length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#cookies[middle] <= cookie) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #sort(): void {
    const names = [...this.#slots.keys()];
    const keys = Float64Array.from(names, cookieOf);
    const at = Uint32Array.from(names, (_, i) => i);
    at.sort((a, b) => keys[a] - keys[b] || (names[a] < names[b] ? -1 : 1));
    this.#names = Array.from(at, (i) => names[i]);
    this.#cookies = Float64Array.from(at, (i) => keys[i]);
    // Equal hashes: each following name takes the next number, in the order of the names.
    for (let i = 1; i < this.#cookies.length; i++) {
      if (this.#cookies[i] <= this.#cookies[i - 1]) this.#cookies[i] = this.#cookies[i - 1] + 1;
    }
  }
}

/**
 * The indexes of one mount, least recently used ones given up. Of the directories with more entries
 * than all may have together the last one is kept besides: a listing takes hundreds of requests, and
 * without it each would read the whole directory.
 */
export class DirIndexes {
  readonly #cache = new LRUCache<number, DirIndex>({
    maxSize: MAX_ENTRIES,
    sizeCalculation: (index) => index.counted,
  });
  #large: { readonly node: number; readonly index: DirIndex } | undefined;

  /** Questions that a kept index answered, and those that had to be asked of the layers. */
  hits = 0;
  misses = 0;

  /** To be told of a change. */
  get(node: number): DirIndex | undefined {
    const index = this.#kept(node);
    if (index && index.size > 2 * index.counted) this.keep(node, index);
    return index;
  }

  /** To answer from. */
  ask(node: number): DirIndex | undefined {
    const index = this.#kept(node);
    if (index) this.hits++;
    else this.misses++;
    return index;
  }

  #kept(node: number): DirIndex | undefined {
    return this.#large?.node === node ? this.#large.index : this.#cache.get(node);
  }

  keep(node: number, index: DirIndex): void {
    this.drop(node);
    index.counted = index.size + 1;
    if (index.counted > MAX_ENTRIES) this.#large = { node, index };
    else this.#cache.set(node, index);
  }

  drop(node: number): void {
    if (this.#large?.node === node) this.#large = undefined;
    this.#cache.delete(node);
  }
}
