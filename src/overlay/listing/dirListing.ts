/**
 * The merged listing of a directory, kept while it is in use. It has two parts: what the lowers hold, shared
 * by mounts of the same lowers (shared.ts), and what the mount's upper holds over it. It answers READDIR in
 * the order of cookies, and lookups of names that do not exist. A change made through the mount is applied to
 * the mount's own part and never to the shared one.
 */
import { LRUCache } from 'lru-cache';
import { Entries, FROM_UPPER } from './entries.js';
import type { Listing } from './shared.js';
import type { Order } from './order.js';

export { FROM_UPPER };

/** Entries kept over all directories of a mount, about 50 bytes each. */
const MAX_ENTRIES = 500_000;

/** Directories whose lookups are counted at a time; a number of nodes shares one counter by turns. */
const COUNTERS = 512;

export class DirListing {
  /** Of the lowers; slots up to `#own0` are its own. */
  readonly base: Listing | undefined;
  readonly #below: Entries | undefined;
  readonly #own0: number;
  /** What the mount has put over it. */
  #own: Entries | undefined;
  /** Names of the lowers that are gone. */
  #gone: Set<string> | undefined;
  /** Names of the lowers that are gone or have an entry over them. */
  #covered = 0;
  /** A name was put that the lowers do not have. */
  #more = false;
  #order: Order | undefined;
  /** The order before a name was put: the next one keeps its cookies. */
  #before: Order | undefined;
  /** When it was read, nothing that the upper has in the directory was a copy, and nothing was put since. */
  pure = false;
  /** Entries it had when room was made for it; it may have twice as many before more is made. */
  counted = 1;

  constructor(base?: Listing) {
    this.base = base;
    this.#below = base?.entries;
    this.#own0 = this.#below?.slots ?? 0;
  }

  get size(): number {
    return (this.#below?.size ?? 0) - this.#covered + (this.#own?.size ?? 0);
  }

  slot(name: string): number | undefined {
    const own = this.#own?.slot(name);
    if (own !== undefined) return own + this.#own0;
    return this.#gone?.has(name) === true ? undefined : this.#below?.slot(name);
  }

  /** Whose entry a slot is; the slot there is `#at`. */
  #of(slot: number): Entries {
    const entries = slot < this.#own0 ? this.#below : this.#own;
    if (!entries) throw new Error(`no entry ${slot}`);
    return entries;
  }
  #at(slot: number): number {
    return slot < this.#own0 ? slot : slot - this.#own0;
  }

  type(slot: number): number {
    return this.#of(slot).type(this.#at(slot));
  }
  source(slot: number): number {
    return this.#of(slot).source(this.#at(slot));
  }
  /** Where the lowest directory of this name lies that is merged into it. */
  last(slot: number): number {
    return this.#of(slot).last(this.#at(slot));
  }
  inoLo(slot: number): number {
    return this.#of(slot).inoLo(this.#at(slot));
  }
  inoHi(slot: number): number {
    return this.#of(slot).inoHi(this.#at(slot));
  }
  /** False: only a lookup tells the inode number this entry is shown with. */
  inoKnown(slot: number): boolean {
    return this.inoLo(slot) >= 0;
  }

  *names(): Generator<string> {
    if (this.#own) yield* this.#own.names();
    for (const name of this.#below?.names() ?? []) if (this.#shows(name)) yield name;
  }

  /** The lowers' entry of this name is what is shown, if they have one. */
  #shows(name: string): boolean {
    return this.#own?.slot(name) === undefined && this.#gone?.has(name) !== true;
  }

  put(name: string, type: number, source: number, inoLo: number, inoHi: number): void {
    if (this.#own?.slot(name) === undefined) {
      const below = this.#below?.slot(name) !== undefined;
      if (below && this.#gone?.delete(name) !== true) this.#covered++;
      if (!below) this.#more = true;
      // The order knows what is put by its slot, which may be another name's now.
      if (!below || this.#own?.reuses === true) {
        this.#before = this.#order ?? this.#before;
        this.#order = undefined;
      }
    }
    this.pure = false;
    this.#own ??= new Entries();
    this.#own.put(name, type, source, inoLo, inoHi);
  }

  /** Directory `name`, just put, goes on below: `last` is its lowest source. */
  putLast(name: string, last: number): void {
    const slot = this.#own?.slot(name);
    if (slot !== undefined) this.#own?.merge(slot, last);
  }

  /** A lookup has told the number an entry is shown with; those of lowers are known. */
  setIno(slot: number, inoLo: number, inoHi: number): void {
    if (slot >= this.#own0) this.#own?.setIno(slot - this.#own0, inoLo, inoHi);
  }

  /** The entry has an upper object now; a directory keeps its lowers below it. */
  copiedUp(name: string, inoLo: number, inoHi: number): void {
    const slot = this.slot(name);
    if (slot === undefined) return;
    const last = this.last(slot);
    this.put(name, this.type(slot), FROM_UPPER, inoLo, inoHi);
    this.putLast(name, last);
  }

  /** The name stays in the order until that is built anew: a listing under way skips it. */
  remove(name: string): void {
    const own = this.#own?.remove(name) === true;
    if (this.#below?.slot(name) === undefined) return;
    this.#gone ??= new Set();
    if (!own && !this.#gone.has(name)) this.#covered++;
    this.#gone.add(name);
  }

  /** Positions in the order of the cookies; the names at some may have been removed. */
  get positions(): number {
    return this.#ordered().slots.length;
  }

  nameAt(position: number): string {
    return this.nameOf(this.#ordered().slots[position]);
  }

  /** The slot of the name at `position`; undefined when that was removed. */
  slotAt(position: number): number | undefined {
    const slot = this.#ordered().slots[position];
    return this.#own || this.#gone ? this.slot(this.nameOf(slot)) : slot;
  }

  /** Cookie of the name at `position`: after it, a listing goes on with the next. */
  cookie(position: number): number {
    return this.#ordered().cookies[position];
  }

  /** First position with a cookie above `cookie`. */
  after(cookie: number): number {
    return this.#ordered().after(cookie);
  }

  #ordered(): Order {
    this.#order ??= this.#sort();
    this.#before = undefined;
    return this.#order;
  }

  readonly nameOf = (slot: number): string => this.#of(slot).name(this.#at(slot));

  #sort(): Order {
    const [below, own] = [this.#below, this.#own];
    if (!below) return (this.#own ??= new Entries()).order();
    if (!this.#more || !own) return below.order();
    const more = own.all().filter((slot) => below.slot(own.name(slot)) === undefined);
    return below.order().with(
      more.map((slot) => slot + this.#own0),
      this.nameOf,
      this.#before,
    );
  }
}

/**
 * The listings of one mount, least recently used ones given up. Of the directories with more entries
 * than all may have together the last one is kept besides: a listing takes hundreds of requests, and
 * without it each would read the whole directory.
 */
export class DirListings {
  readonly #cache = new LRUCache<number, DirListing>({
    maxSize: MAX_ENTRIES,
    sizeCalculation: (listing) => listing.counted,
    dispose: (listing) => listing.base?.release(),
  });
  #large: { readonly node: number; readonly listing: DirListing } | undefined;
  /** Pairs of a directory's node and the lookups in it that no listing answered. */
  readonly #asked = new Uint32Array(2 * COUNTERS);

  /** Questions that a kept listing answered, and those that had to be asked of the layers. */
  hits = 0;
  misses = 0;
  /** Listings of lowers that were read for this mount, and those that were there. */
  read = 0;
  shared = 0;

  /** To be told of a change. */
  get(node: number): DirListing | undefined {
    const listing = this.#kept(node);
    if (listing && listing.size > 2 * listing.counted) this.keep(node, listing);
    return listing;
  }

  /** To answer from. */
  ask(node: number): DirListing | undefined {
    const listing = this.#kept(node);
    if (listing) this.hits++;
    else this.misses++;
    return listing;
  }

  /** How many lookups in a directory, with this one, no listing answered; forgets it for another now and then. */
  count(node: number): number {
    const at = (Math.imul(node, 0x9e37_79b1) >>> 23) << 1;
    const asked = this.#asked;
    if (asked[at] !== node) {
      asked[at] = node;
      asked[at + 1] = 0;
    }
    return ++asked[at + 1];
  }

  #kept(node: number): DirListing | undefined {
    return this.#large?.node === node ? this.#large.listing : this.#cache.get(node);
  }

  keep(node: number, listing: DirListing): void {
    listing.base?.hold();
    this.drop(node);
    listing.counted = listing.size + 1;
    if (listing.counted > MAX_ENTRIES) this.#setLarge({ node, listing });
    else this.#cache.set(node, listing);
  }

  drop(node: number): void {
    if (this.#large?.node === node) this.#setLarge(undefined);
    this.#cache.delete(node);
  }

  #setLarge(large: { readonly node: number; readonly listing: DirListing } | undefined): void {
    this.#large?.listing.base?.release();
    this.#large = large;
  }

  /** The mount has ended. */
  clear(): void {
    this.#setLarge(undefined);
    this.#cache.clear();
  }
}
