/**
 * The order in which a directory is listed: slots of entries by rising cookie.
 *
 * A name's cookie is its hash of 31 bits. Where names share a hash, one has it as its cookie and the others
 * have the next free numbers; in a new order the names alone decide which. An order that follows another one
 * keeps every cookie that the other gave. So a listing that is under way neither loses a name nor shows one
 * twice.
 */
import { cookieOf } from '../../base/hash.js';

type NameOf = (slot: number) => string;

/** Marks a position whose name has not got its cookie yet. */
const CONTESTED = 0xffff_ffff;

interface Contender {
  readonly slot: number;
  readonly name: string;
  readonly hash: number;
}

export class Order {
  readonly slots: Uint32Array;
  readonly cookies: Uint32Array;
  /** Names whose cookie is not their hash. */
  readonly moved: ReadonlyMap<string, number>;

  constructor(slots: Uint32Array, cookies: Uint32Array, moved: ReadonlyMap<string, number>) {
    this.slots = slots;
    this.cookies = cookies;
    this.moved = moved;
  }

  /** The order of the names in `slots`. `before`: the order that this one follows. */
  static of(slots: Uint32Array, nameOf: NameOf, before?: Order): Order {
    return arrange(undefined, slots, nameOf, before);
  }

  /** This order, unchanged, with further slots whose names it does not have. */
  with(more: Uint32Array, nameOf: NameOf, before?: Order): Order {
    return more.length === 0 ? this : arrange(this, more, nameOf, before);
  }

  /** First position with a cookie above `cookie`. */
  after(cookie: number): number {
    return firstAbove(this.cookies, cookie);
  }

  /** The slot with this cookie. */
  at(cookie: number): number | undefined {
    const position = this.after(cookie) - 1;
    return this.cookies[position] === cookie ? this.slots[position] : undefined;
  }
}

function arrange(
  fixed: Order | undefined,
  slots: Uint32Array,
  nameOf: NameOf,
  before: Order | undefined,
): Order {
  const hashes = new Uint32Array(slots.length);
  for (let i = 0; i < slots.length; i++) hashes[i] = cookieOf(nameOf(slots[i]));
  // Numbers alone are sorted many times faster than by a function that compares.
  const sorted = hashes.slice().sort();
  const kept = new Set(before?.moved.values());
  const placed = new Uint32Array(slots.length);
  const contenders: Contender[] = [];
  for (let i = 0; i < slots.length; i++) {
    const hash = hashes[i];
    const last = firstAbove(sorted, hash) - 1;
    const shared = last > 0 && sorted[last - 1] === hash;
    const wasMoved = kept.size > 0 && before?.moved.has(nameOf(slots[i])) === true;
    if (shared || wasMoved || kept.has(hash) || fixed?.at(hash) !== undefined) {
      contenders.push({ slot: slots[i], name: nameOf(slots[i]), hash });
      // Any position of the hash will do: all of its names contend.
      placed.fill(CONTESTED, firstAbove(sorted, hash - 1), last + 1);
    } else placed[last] = slots[i];
  }
  const rest = { slots: placed, cookies: sorted };
  if (contenders.length === 0) {
    return fixed
      ? new Order(...merge(fixed, rest), fixed.moved)
      : new Order(placed, sorted, new Map());
  }
  const settled = settle(contenders, { fixed, sorted, nameOf, before });
  const [allSlots, allCookies] = merge(uncontested(rest), settled);
  if (!fixed) return new Order(allSlots, allCookies, settled.moved);
  return new Order(...merge(fixed, { slots: allSlots, cookies: allCookies }), settled.moved);
}

interface Given {
  readonly fixed: Order | undefined;
  readonly sorted: Uint32Array;
  readonly nameOf: NameOf;
  readonly before: Order | undefined;
}

interface Sequence {
  readonly slots: Uint32Array;
  readonly cookies: Uint32Array;
}

/** Gives each contender a cookie: the one it had, its hash, or the next free number. */
function settle(
  contenders: readonly Contender[],
  given: Given,
): Sequence & { readonly moved: Map<string, number> } {
  const { fixed, sorted, before } = given;
  const byHash = contenders.toSorted((a, b) => a.hash - b.hash || (a.name < b.name ? -1 : 1));
  const cookies = new Map<Contender, number>();
  const used = new Set<number>();
  for (const each of byHash) {
    const had = before?.moved.get(each.name);
    if (had === undefined || used.has(had) || fixed?.at(had) !== undefined) continue;
    cookies.set(each, had);
    used.add(had);
  }
  const open = byHash.filter((each) => !cookies.has(each));
  const hashOf = new Map(open.map(({ name, hash }) => [name, hash]));
  for (const each of open) {
    if (used.has(each.hash) || fixed?.at(each.hash) !== undefined) continue;
    if (!ownsHash(each, hashOf, given)) continue;
    cookies.set(each, each.hash);
    used.add(each.hash);
  }
  const isHash = (number: number): boolean => sorted[firstAbove(sorted, number) - 1] === number;
  const next = new NextFree(
    (number) => used.has(number) || isHash(number) || fixed?.at(number) !== undefined,
  );
  const moved = new Map<string, number>();
  for (const each of open) {
    if (cookies.has(each)) continue;
    const cookie = next.after(each.hash);
    cookies.set(each, cookie);
    used.add(cookie);
  }
  for (const [each, cookie] of cookies) if (cookie !== each.hash) moved.set(each.name, cookie);
  const rising = [...cookies].sort(([, a], [, b]) => a - b);
  return {
    slots: Uint32Array.from(rising, ([{ slot }]) => slot),
    cookies: Uint32Array.from(rising, ([, cookie]) => cookie),
    moved,
  };
}

/** No other name that contends for the hash had it as its cookie before. */
function ownsHash(
  { name, hash }: Contender,
  hashOf: ReadonlyMap<string, number>,
  { before, nameOf }: Given,
): boolean {
  const slot = before?.at(hash);
  if (slot === undefined) return true;
  const owner = nameOf(slot);
  return owner === name || hashOf.get(owner) !== hash;
}

/** The next numbers that are not taken. What was found taken is not asked for again. */
class NextFree {
  readonly #taken: (number: number) => boolean;
  readonly #skip = new Map<number, number>();

  constructor(taken: (number: number) => boolean) {
    this.#taken = taken;
  }

  after(number: number): number {
    const way: number[] = [];
    let at = number + 1;
    for (;;) {
      const skip = this.#skip.get(at);
      if (skip === undefined && !this.#taken(at)) break;
      way.push(at);
      at = skip ?? at + 1;
    }
    for (const each of way) this.#skip.set(each, at);
    return at;
  }
}

function uncontested({ slots, cookies }: Sequence): Sequence {
  let count = 0;
  for (const slot of slots) if (slot !== CONTESTED) count++;
  const rest = { slots: new Uint32Array(count), cookies: new Uint32Array(count) };
  for (let i = 0, to = 0; i < slots.length; i++) {
    if (slots[i] === CONTESTED) continue;
    rest.slots[to] = slots[i];
    rest.cookies[to++] = cookies[i];
  }
  return rest;
}

/** Two sequences that share no cookie, as one. */
function merge(a: Sequence, b: Sequence): [slots: Uint32Array, cookies: Uint32Array] {
  const count = a.slots.length + b.slots.length;
  const slots = new Uint32Array(count);
  const cookies = new Uint32Array(count);
  for (let i = 0, j = 0, k = 0; k < count; k++) {
    const takesA = j >= b.slots.length || (i < a.slots.length && a.cookies[i] < b.cookies[j]);
    const from = takesA ? a : b;
    const n = takesA ? i++ : j++;
    slots[k] = from.slots[n];
    cookies[k] = from.cookies[n];
  }
  return [slots, cookies];
}

function firstAbove(sorted: Uint32Array, number: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] <= number) low = middle + 1;
    else high = middle;
  }
  return low;
}
