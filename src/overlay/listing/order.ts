/** The order in which a directory is listed: slots of entries by rising cookie. */
import { cookieOf } from '../../base/hash.js';

export type NameOf = (slot: number) => string;

/** After a name's cookie, a listing goes on with the next. */
export class Order {
  readonly slots: Uint32Array;
  readonly cookies: Float64Array;
  /** Some names have equal hashes, so their cookies are not their hashes. */
  readonly #collided: boolean;

  private constructor(slots: Uint32Array, hashes: Float64Array) {
    this.slots = slots;
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

  static of(slots: Uint32Array, nameOf: NameOf): Order {
    const hashes = new Float64Array(slots.length);
    for (let i = 0; i < slots.length; i++) hashes[i] = cookieOf(nameOf(slots[i]));
    // Numbers alone are sorted many times faster than by a function that compares.
    const sorted = hashes.slice().sort();
    if (isRising(sorted)) {
      const ordered = new Uint32Array(slots.length);
      for (let i = 0; i < slots.length; i++) ordered[firstAbove(sorted, hashes[i]) - 1] = slots[i];
      return new Order(ordered, sorted);
    }
    const at = Uint32Array.from(slots, (_, i) => i);
    at.sort((a, b) => hashes[a] - hashes[b] || (nameOf(slots[a]) < nameOf(slots[b]) ? -1 : 1));
    return new Order(
      at.map((i) => slots[i]),
      sorted,
    );
  }

  /** This order with further slots, whose names it does not have. */
  with(more: Uint32Array, nameOf: NameOf): Order {
    if (more.length === 0) return this;
    const added = Order.of(more, nameOf);
    const count = this.slots.length + more.length;
    const slots = new Uint32Array(count);
    if (this.#collided || added.#collided) {
      slots.set(this.slots);
      slots.set(more, this.slots.length);
      return Order.of(slots, nameOf);
    }
    const hashes = new Float64Array(count);
    for (let i = 0, j = 0, k = 0; k < count; k++) {
      const from = takes(this, i, added, j, nameOf) ? this : added;
      const n = from === this ? i++ : j++;
      slots[k] = from.slots[n];
      hashes[k] = from.cookies[n];
    }
    return new Order(slots, hashes);
  }

  /** First position with a cookie above `cookie`. */
  after(cookie: number): number {
    return firstAbove(this.cookies, cookie);
  }
}

function isRising(numbers: Float64Array): boolean {
  for (let i = 1; i < numbers.length; i++) if (numbers[i] <= numbers[i - 1]) return false;
  return true;
}

function firstAbove(sorted: Float64Array, number: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] <= number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether the `i`-th of `a` comes before the `j`-th of `b`. */
function takes(a: Order, i: number, b: Order, j: number, nameOf: NameOf): boolean {
  if (j >= b.slots.length) return true;
  if (i >= a.slots.length) return false;
  if (a.cookies[i] !== b.cookies[j]) return a.cookies[i] < b.cookies[j];
  return nameOf(a.slots[i]) < nameOf(b.slots[j]);
}
