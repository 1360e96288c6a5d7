/**
 * The entries of a directory: names with their type, the layer of the topmost object, its inode number, and
 * the order of their cookies. All of it lies in plain memory, about 50 bytes an entry. Strings and objects
 * would take four times that, and V8 would visit all of them in each garbage collection. Only the names of a
 * small directory are kept as strings, because a listing then has them at hand.
 */
import { hash32, hash32Of, newSeed } from '../../base/hash.js';
import { Order } from './order.js';

/** Where an entry's topmost object is: 0 the upper, i + 1 the i-th lower of the directory's stack. */
export const FROM_UPPER = 0;

/** Words of a slot. */
const S_NAME = 0;
const S_INO_LO = 1;
const S_INO_HI = 2;
/** The source; of a directory, in the upper half, the lowest source that counts. */
const S_SOURCES = 3;
/** The next of the slot's chain + 1; above it the type and flags. */
const S_CHAIN = 4;
const WORDS = 5;

const NEXT_MASK = 0x3ff_ffff;
const TYPE_SHIFT = 26;
const TYPE_MASK = 0xf;
/** A lookup must tell the inode number. */
const UNKNOWN = 1 << 30;
/** The slot is free. */
const GONE = 1 << 31;

/** So many names become bytes in a row, each with its length in two bytes before it. */
const MANY = 2048;
const NAME_HEAD = 2;

const SEED = newSeed();
const FIRST_SLOTS = 32;
const NO_WORDS = new Uint32Array(0);
const NO_BYTES = Buffer.alloc(0);

export class Entries {
  /** Chains of slots + 1, by hash of the name: a power of two of them, at least one for each slot. */
  #heads = NO_WORDS;
  #words = NO_WORDS;
  /** Names by slot; undefined when there are many. */
  #texts: string[] | undefined = [];
  #bytes = NO_BYTES;
  /** Bytes in use, and how many of these are of names that are gone. */
  #end = 0;
  #lost = 0;
  #size = 0;
  #slots = 0;
  /** Slots of removed names. */
  #free: number[] | undefined;
  #order: Order | undefined;
  /** The order before a name was added: the next one keeps its cookies. */
  #before: Order | undefined;

  get size(): number {
    return this.#size;
  }

  /** Above every slot there has been. */
  get slots(): number {
    return this.#slots;
  }

  /** Memory held for them, strings aside. */
  get bytes(): number {
    const order = this.#order;
    const ordered = order ? order.slots.byteLength + order.cookies.byteLength : 0;
    return this.#words.byteLength + this.#heads.byteLength + this.#bytes.length + ordered;
  }

  /** The next name gets a slot that another had. */
  get reuses(): boolean {
    return this.#free !== undefined && this.#free.length > 0;
  }

  slot(name: string): number | undefined {
    if (this.#size === 0) return undefined;
    const words = this.#words;
    let next = this.#heads[hash32(name, SEED) & (this.#heads.length - 1)];
    while (next !== 0) {
      if (this.#is(next - 1, name)) return next - 1;
      next = words[(next - 1) * WORDS + S_CHAIN] & NEXT_MASK;
    }
    return undefined;
  }

  #is(slot: number, name: string): boolean {
    if (this.#texts) return this.#texts[slot] === name;
    const bytes = this.#bytes;
    const at = this.#words[slot * WORDS];
    const { length } = name;
    if ((bytes[at] | (bytes[at + 1] << 8)) !== length) return false;
    for (let i = 0, from = at + NAME_HEAD; i < length; i++) {
      if (bytes[from + i] !== name.charCodeAt(i)) return false;
    }
    return true;
  }

  type(slot: number): number {
    return (this.#words[slot * WORDS + S_CHAIN] >>> TYPE_SHIFT) & TYPE_MASK;
  }
  source(slot: number): number {
    return this.#words[slot * WORDS + S_SOURCES] & 0xffff;
  }
  last(slot: number): number {
    return this.#words[slot * WORDS + S_SOURCES] >>> 16;
  }
  /** As shown; -1 when a lookup must tell. */
  inoLo(slot: number): number {
    const at = slot * WORDS;
    return (this.#words[at + S_CHAIN] & UNKNOWN) !== 0 ? -1 : this.#words[at + S_INO_LO];
  }
  inoHi(slot: number): number {
    return this.#words[slot * WORDS + S_INO_HI];
  }
  /** The name of a slot, or the last one a free slot had ('' once its room was needed). */
  name(slot: number): string {
    if (this.#texts) return this.#texts[slot];
    const at = this.#words[slot * WORDS];
    return this.#bytes.latin1Slice(at + NAME_HEAD, at + NAME_HEAD + this.#length(at));
  }
  #length(at: number): number {
    return this.#bytes[at] | (this.#bytes[at + 1] << 8);
  }
  #live(slot: number): boolean {
    return (this.#words[slot * WORDS + S_CHAIN] & GONE) === 0;
  }

  *names(): Generator<string> {
    for (let slot = 0; slot < this.#slots; slot++) if (this.#live(slot)) yield this.name(slot);
  }

  /** Returns the entry's slot. Sources are below 65,536. */
  put(name: string, type: number, source: number, inoLo: number, inoHi: number): number {
    const slot = this.slot(name) ?? this.#add(name);
    const words = this.#words;
    const at = slot * WORDS;
    const state = (type << TYPE_SHIFT) | (inoLo < 0 ? UNKNOWN : 0);
    words[at + S_CHAIN] = (words[at + S_CHAIN] & NEXT_MASK) | state;
    words[at + S_SOURCES] = source | (source << 16);
    words[at + S_INO_LO] = inoLo;
    words[at + S_INO_HI] = inoHi;
    return slot;
  }

  #add(name: string): number {
    if (this.#free === undefined || this.#free.length === 0) this.#makeSlot();
    const slot = this.#free?.pop() ?? this.#slots++;
    this.#words[slot * WORDS + S_CHAIN] = GONE; // until it has its name
    this.#setName(slot, name);
    this.#link(slot, hash32(name, SEED));
    this.#size++;
    this.#before = this.#order ?? this.#before;
    this.#order = undefined;
    return slot;
  }

  /** The slot becomes the first of its chain, without a type. */
  #link(slot: number, hash: number): void {
    const head = hash & (this.#heads.length - 1);
    this.#words[slot * WORDS + S_CHAIN] = this.#heads[head];
    this.#heads[head] = slot + 1;
  }

  /** One more source of a directory, below the others. */
  merge(slot: number, source: number): void {
    const at = slot * WORDS + S_SOURCES;
    this.#words[at] = (this.#words[at] & 0xffff) | (source << 16);
  }

  setIno(slot: number, inoLo: number, inoHi: number): void {
    const at = slot * WORDS;
    this.#words[at + S_INO_LO] = inoLo;
    this.#words[at + S_INO_HI] = inoHi;
    this.#words[at + S_CHAIN] &= ~UNKNOWN;
  }

  /** False when there was none. The name stays in the order until that is built anew. */
  remove(name: string): boolean {
    const slot = this.slot(name);
    if (slot === undefined) return false;
    const words = this.#words;
    const following = words[slot * WORDS + S_CHAIN] & NEXT_MASK;
    const head = hash32(name, SEED) & (this.#heads.length - 1);
    if (this.#heads[head] === slot + 1) this.#heads[head] = following;
    else {
      let at = (this.#heads[head] - 1) * WORDS + S_CHAIN;
      while ((words[at] & NEXT_MASK) !== slot + 1)
        at = ((words[at] & NEXT_MASK) - 1) * WORDS + S_CHAIN;
      words[at] = (words[at] & ~NEXT_MASK) | following;
    }
    words[slot * WORDS + S_CHAIN] = GONE;
    this.#lost += name.length + NAME_HEAD;
    (this.#free ??= []).push(slot);
    this.#size--;
    return true;
  }

  /** Slots by the cookies of their names; some may have been removed. */
  order(): Order {
    this.#order ??= Order.of(this.all(), (slot) => this.name(slot), this.#before);
    this.#before = undefined;
    return this.#order;
  }

  /** Slots in use. */
  all(): Uint32Array {
    const found = new Uint32Array(this.#size);
    for (let slot = 0, count = 0; slot < this.#slots; slot++) {
      if (this.#live(slot)) found[count++] = slot;
    }
    return found;
  }

  /** Nothing is put any more: gives back what it has beyond its entries. */
  trim(): void {
    const words = this.#slots * WORDS;
    if (words < this.#words.length) this.#words = this.#words.slice(0, words);
    if (this.#end < this.#bytes.length) this.#moveBytes(this.#end);
  }

  /** There is room for one more slot. */
  #makeSlot(): void {
    const room = Math.max(FIRST_SLOTS, this.#heads.length * 2);
    if (this.#slots === this.#heads.length) {
      this.#heads = new Uint32Array(room);
      for (let slot = 0; slot < this.#slots; slot++) this.#relink(slot);
    }
    if ((this.#slots + 1) * WORDS <= this.#words.length) return;
    const words = new Uint32Array(this.#heads.length * WORDS);
    words.set(this.#words);
    this.#words = words;
  }

  /** All slots are in use when this is called. */
  #relink(slot: number): void {
    const state = this.#words[slot * WORDS + S_CHAIN] & ~NEXT_MASK;
    this.#link(slot, this.#hashOf(slot));
    this.#words[slot * WORDS + S_CHAIN] |= state;
  }

  #hashOf(slot: number): number {
    if (this.#texts) return hash32(this.#texts[slot], SEED);
    const at = this.#words[slot * WORDS];
    return hash32Of(this.#bytes, at + NAME_HEAD, this.#length(at), SEED);
  }

  #setName(slot: number, name: string): void {
    const texts = this.#texts;
    if (texts) texts[slot] = name;
    if (texts && slot < MANY) return;
    if (!texts) this.#append(slot, name);
    else {
      this.#texts = undefined;
      this.#lost = 0;
      for (const [each, text] of texts.entries()) this.#append(each, text);
    }
  }

  #append(slot: number, name: string): void {
    const at = this.#room(name.length + NAME_HEAD);
    const bytes = this.#bytes;
    bytes[at] = name.length & 0xff;
    bytes[at + 1] = name.length >> 8;
    for (let i = 0, to = at + NAME_HEAD; i < name.length; i++) bytes[to + i] = name.charCodeAt(i);
    this.#words[slot * WORDS + S_NAME] = at;
  }

  /** Where `count` more bytes are. */
  #room(count: number): number {
    if (this.#end + count > this.#bytes.length) {
      if (this.#lost > this.#end / 2) this.#dropLost();
      this.#moveBytes(Math.max(this.#end * 2, this.#end + count));
    }
    const at = this.#end;
    this.#end += count;
    return at;
  }

  #moveBytes(size: number): void {
    const bytes = Buffer.allocUnsafeSlow(size);
    bytes.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = bytes;
  }

  /** Names that are gone give their room back; their slots then have one empty name. */
  #dropLost(): void {
    const bytes = Buffer.allocUnsafeSlow(this.#end - this.#lost + NAME_HEAD);
    bytes.fill(0, 0, NAME_HEAD);
    let end = NAME_HEAD;
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = this.#words[slot * WORDS];
      const live = this.#live(slot);
      this.#words[slot * WORDS] = live ? end : 0;
      if (!live) continue;
      const next = at + NAME_HEAD + this.#length(at);
      bytes.set(this.#bytes.subarray(at, next), end);
      end += next - at;
    }
    this.#bytes = bytes;
    this.#end = end;
    this.#lost = 0;
  }
}
