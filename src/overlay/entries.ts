/**
 * Names of a directory with their type, where the topmost object lies and its inode number, in
 * columns instead of an object each; and their order by cookie.
 */
import { cookieOf } from '../base/hash.js';

/** Where an entry's topmost object is: 0 the upper, i + 1 the i-th lower of the directory's stack. */
export const FROM_UPPER = 0;

export class Entries {
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
  #order: Order | undefined;

  get size(): number {
    return this.#slots.size;
  }

  /** Above every slot there has been. */
  get slots(): number {
    return this.#types.length;
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
  last(slot: number): number {
    return this.#lasts[slot];
  }
  inoLo(slot: number): number {
    return this.#inoLo[slot];
  }
  inoHi(slot: number): number {
    return this.#inoHi[slot];
  }
  names(): IterableIterator<string> {
    return this.#slots.keys();
  }

  /** Returns the entry's slot; `last` is the lowest source of a directory. */
  put(
    name: string,
    type: number,
    source: number,
    last: number,
    inoLo: number,
    inoHi: number,
  ): number {
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = this.#free.pop() ?? this.#types.length;
      this.#slots.set(name, slot);
      this.#order = undefined;
    }
    this.#types[slot] = type;
    this.#sources[slot] = source;
    this.#lasts[slot] = last;
    this.#inoLo[slot] = inoLo;
    this.#inoHi[slot] = inoHi;
    return slot;
  }

  /** One more source of a directory, below the others. */
  merge(slot: number, source: number): void {
    this.#lasts[slot] = source;
  }

  setIno(slot: number, inoLo: number, inoHi: number): void {
    this.#inoLo[slot] = inoLo;
    this.#inoHi[slot] = inoHi;
  }

  /** False when there was none. The name stays in the order until that is built anew. */
  remove(name: string): boolean {
    const slot = this.#slots.get(name);
    if (slot === undefined) return false;
    this.#slots.delete(name);
    this.#free.push(slot);
    return true;
  }

  /** Names in cookie order; some may have been removed. */
  order(): Order {
    this.#order ??= Order.of([...this.#slots.keys()]);
    return this.#order;
  }
}

/** Names by rising cookie: after a name's cookie, a listing goes on with the next. */
export class Order {
  readonly names: readonly string[];
  readonly cookies: Float64Array;
  /** Some names have equal hashes, so their cookies are not their hashes. */
  readonly #collided: boolean;

  private constructor(names: readonly string[], hashes: Float64Array) {
    this.names = names;
    this.cookies = hashes;
    let collided = false;
    // Equal hashes: each following name takes the next number, in the order of the names.
    for (let i = 1; i < hashes.length; i++) {
      if (hashes[i] > hashes[i - 1]) continue;
      hashes[i] = hashes[i - 1] + 1;
      collided = true;
    }
    this.#collided = collided;
  }

  static of(names: readonly string[]): Order {
    const hashes = Float64Array.from(names, cookieOf);
    const at = Uint32Array.from(names, (_, i) => i);
    at.sort((a, b) => hashes[a] - hashes[b] || (names[a] < names[b] ? -1 : 1));
    return new Order(
      Array.from(at, (i) => names[i]),
      Float64Array.from(at, (i) => hashes[i]),
    );
  }

  /** This order with further names, none of which it has. */
  with(more: readonly string[]): Order {
    if (more.length === 0) return this;
    if (this.#collided) return Order.of([...this.names, ...more]);
    const added = Order.of(more);
    if (added.#collided) return Order.of([...this.names, ...more]);
    const names: string[] = [];
    const hashes = new Float64Array(this.names.length + more.length);
    for (let i = 0, j = 0, k = 0; k < hashes.length; k++) {
      const from = takes(this, i, added, j) ? this : added;
      const n = from === this ? i++ : j++;
      names.push(from.names[n]);
      hashes[k] = from.cookies[n];
    }
    return new Order(names, hashes);
  }

  /** First position with a cookie above `cookie`. */
  after(cookie: number): number {
    let low = 0;
    let high = this.names.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.cookies[middle] <= cookie) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whether the `i`-th of `a` comes before the `j`-th of `b`. */
function takes(a: Order, i: number, b: Order, j: number): boolean {
  if (j >= b.names.length) return true;
  if (i >= a.names.length) return false;
  return (
    a.cookies[i] - b.cookies[j] < 0 || (a.cookies[i] === b.cookies[j] && a.names[i] < b.names[j])
  );
}
