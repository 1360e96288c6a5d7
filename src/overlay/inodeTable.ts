/**
 * The inode table: what the kernel knows of this mount, in typed arrays over one arena.
 *
 * A node's record is 64 bytes; its number is the FUSE node id. A node is found by its canonical
 * name (parent, name) and, where the object behind it is unambiguous, by its key (layer id, inode
 * number of the real object). Further names of a hard-linked upper file are aliases, a chain of
 * blocks at the node.
 *
 * A node lives while the kernel holds lookups of it or it has child nodes. Only this file adds and
 * removes nodes.
 */
import { hash32, hash32Of, newSeed } from '../base/hash.js';
import { S_IFDIR } from '../base/mode.js';
import { ROOT } from '../protocol/flags.js';
import type { Native } from '../sys/native.js';
import { Arena, H_OWNER } from './arena.js';

/** Record words. */
const W_MODE = 0;
const W_PARENT = 1;
const W_NAME = 2;
const W_LOOKUP_LO = 3;
const W_LOOKUP_HI = 4;
const W_CHILDREN = 5;
const W_NEXT_NAME = 6;
const W_NEXT_KEY = 7;
const W_LOWER = 8;
const W_INO_LO = 9;
const W_INO_HI = 10;
const W_KEY_LAYER = 11;
const W_KEY_LO = 12;
const W_KEY_HI = 13;
const W_GENERATION = 14;
const W_ALIASES = 15;
const WORDS = 16;
const RECORD = WORDS * 4;

/** State flags, in the upper half of W_MODE. */
export const F_UPPER = 1 << 16;
/** The upper object lies in the workdir under its orphan name: it has lost its last known name. */
export const F_ORPHAN = 1 << 17;
/** The name is gone (unlinked, removed): no path leads here, a copy-up goes to an orphan. */
export const F_UNLINKED = 1 << 18;
/** Directory: its upper holds or may hold copied-up entries (the `impure` xattr is set). */
export const F_IMPURE = 1 << 19;
/** Directory: its default ACL was looked for / is there. */
export const F_ACL_KNOWN = 1 << 20;
export const F_ACL_DEFAULT = 1 << 21;
/**
 * Regular file: a metadata-only copy. Its lower is a stack: last the place of the file that holds
 * the data; before it, when the copy is itself in a lower, the place of the directory it is in.
 */
export const F_METACOPY = 1 << 22;
/** Lower file with several links: it is copied up into the index, for all its names (links.ts). */
export const F_LINKED = 1 << 23;
/**
 * Upper file with an entry in the index: that is its canonical name, below `indexDir`; the names a
 * client sees are aliases.
 */
export const F_INDEXED = 1 << 24;
/** Indexed file: some alias is only a lower's name; the upper file has no link there yet. */
export const F_COVERED = 1 << 25;
/** Attributes change without a request: the kernel must ask for them each time (passthrough.ts). */
export const F_ASK = 1 << 28;
/** Only its readers still know this node: its parent is the node that took everything over. */
export const F_RETIRED = 1 << 29;
/** chattr(1) made it immutable or append-only (protect.ts). */
export const F_GUARDED = 1 << 27;
/** It is known that nothing of the kind is so. */
export const F_UNGUARDED = 1 << 31;
/** Upper directory: empty files in it may be whiteouts (its `opaque` is `x`). */
export const F_XWHITEOUTS = 1 << 30;
/** Regular file: capabilities were set on it while the kernel may have held unwritten pages of it. */
export const F_CAPABLE = 1 << 26;

const ALIAS_BYTES = 16;
/** The least there are. There are at most twice as many as nodes (four times after a trim), at least as many. */
const FIRST_BUCKETS = 1024;
/** Header word of the arena: the node of the index. */
const H_INDEX_DIR = H_OWNER + 4;
/** The seed of the names' hashes. */
const H_SEED = H_OWNER + 5;

export class InodeTable {
  readonly arena: Arena;
  #count = 0;
  #nameBuckets: number;
  #keyBuckets: number;
  #bucketMask: number;
  readonly #seed = newSeed();

  constructor(native: Native) {
    this.arena = new Arena(native);
    const buckets = FIRST_BUCKETS;
    this.#nameBuckets = this.#newBuckets(buckets);
    this.#keyBuckets = this.#newBuckets(buckets);
    this.#bucketMask = buckets - 1;
    this.arena.u32[H_SEED] = this.#seed;
    this.#publish();
    this.#clear(ROOT);
    this.arena.u32[ROOT * WORDS + W_LOOKUP_LO] = 1;
    this.#count = 1;
  }

  get size(): number {
    return this.#count;
  }

  /** The directory node that stands for the index, which no path leads to; made when first asked for. */
  get indexDir(): number {
    const known = this.arena.u32[H_INDEX_DIR];
    if (known !== 0) return known;
    const node = this.create(0, '', S_IFDIR);
    this.remember(node);
    this.set(node, F_UPPER | F_IMPURE);
    this.arena.u32[H_INDEX_DIR] = node;
    this.#count--;
    return node;
  }

  /** True for that node; makes none. */
  isIndexDir(node: number): boolean {
    return this.arena.u32[H_INDEX_DIR] === node;
  }

  // --- fields ------------------------------------------------------------------------------
  /** False for a number no live node has; every request's node id passes here first. */
  exists(node: number): boolean {
    return node * WORDS < this.arena.u32.length && this.#held(node);
  }
  mode(node: number): number {
    return this.arena.u32[node * WORDS] & 0xffff;
  }
  setMode(node: number, mode: number): void {
    const u32 = this.arena.u32;
    u32[node * WORDS] = (u32[node * WORDS] & 0xffff0000) | (mode & 0xffff);
  }
  has(node: number, flag: number): boolean {
    return (this.arena.u32[node * WORDS] & flag) !== 0;
  }
  set(node: number, flag: number): void {
    this.arena.u32[node * WORDS] |= flag;
  }
  clear(node: number, flag: number): void {
    this.arena.u32[node * WORDS] &= ~flag;
  }
  parent(node: number): number {
    return this.arena.u32[node * WORDS + W_PARENT];
  }
  name(node: number): string {
    const unit = this.arena.u32[node * WORDS + W_NAME];
    return unit === 0 ? '' : this.arena.name(unit);
  }
  generation(node: number): number {
    return this.arena.u32[node * WORDS + W_GENERATION];
  }
  inoLo(node: number): number {
    return this.arena.u32[node * WORDS + W_INO_LO];
  }
  inoHi(node: number): number {
    return this.arena.u32[node * WORDS + W_INO_HI];
  }
  setIno(node: number, lo: number, hi: number): void {
    this.arena.u32[node * WORDS + W_INO_LO] = lo;
    this.arena.u32[node * WORDS + W_INO_HI] = hi;
  }
  /** Of a directory the unit of its lower stack; of another node the place of its lower directory; 0: no lower. */
  lower(node: number): number {
    return this.arena.u32[node * WORDS + W_LOWER];
  }
  setLower(node: number, unit: number): void {
    this.arena.u32[node * WORDS + W_LOWER] = unit;
  }
  lookups(node: number): number {
    const u32 = this.arena.u32;
    return u32[node * WORDS + W_LOOKUP_LO] + u32[node * WORDS + W_LOOKUP_HI] * 0x1_0000_0000;
  }

  // --- life --------------------------------------------------------------------------------
  /** A node for (parent, name) with no lookups yet; the caller sets its other fields, then calls `remember`. */
  create(parent: number, name: string, mode: number): number {
    const arena = this.arena;
    const unit = arena.alloc(RECORD);
    const nameUnit = name === '' ? 0 : arena.putName(name);
    const node = unit >> 2;
    this.#clear(node);
    const at = node * WORDS;
    const u32 = arena.u32;
    u32[at + W_GENERATION] = ++u32[H_OWNER + 3];
    u32[at + W_MODE] = mode & 0xffff;
    u32[at + W_NAME] = nameUnit;
    u32[at + W_PARENT] = parent;
    if (parent !== 0) u32[parent * WORDS + W_CHILDREN]++;
    this.#count++;
    if (name !== '') this.#linkName(node, name);
    if (this.#count > this.#bucketMask) this.#grow();
    return node;
  }

  /** One more lookup held by the kernel. */
  remember(node: number): void {
    const u32 = this.arena.u32;
    const at = node * WORDS;
    u32[at + W_LOOKUP_LO]++;
    if (u32[at + W_LOOKUP_LO] === 0) u32[at + W_LOOKUP_HI]++;
  }

  /**
   * The kernel gives back `lo`/`hi` lookups. Calls `dropped` for every node that ends by this (the
   * node itself, then parents that only its children held), before its record is freed.
   */
  forget(node: number, lo: number, hi: number, dropped: (node: number) => void): void {
    if (node === ROOT || !this.exists(node)) return;
    const left = Math.max(0, this.lookups(node) - lo - hi * 0x1_0000_0000);
    const at = node * WORDS;
    this.arena.u32[at + W_LOOKUP_LO] = left >>> 0;
    this.arena.u32[at + W_LOOKUP_HI] = Math.floor(left / 0x1_0000_0000);
    this.release(node, dropped);
  }

  /** Ends `node`, and then its parents, if nothing holds it. */
  release(node: number, dropped: (node: number) => void): void {
    let current = node;
    while (current > ROOT && !this.#held(current)) {
      dropped(current);
      for (let alias = this.takeAlias(current); alias; alias = this.takeAlias(current)) {
        this.release(alias.parent, dropped);
      }
      const parent = this.parent(current);
      this.#destroy(current);
      if (parent === 0) return;
      this.arena.u32[parent * WORDS + W_CHILDREN]--;
      current = parent;
    }
  }

  #held(node: number): boolean {
    const u32 = this.arena.u32;
    const at = node * WORDS;
    return u32[at + W_LOOKUP_LO] !== 0 || u32[at + W_LOOKUP_HI] !== 0 || u32[at + W_CHILDREN] !== 0;
  }

  #destroy(node: number): void {
    this.#freeName(node);
    this.setKey(node, 0, 0, 0);
    this.arena.free(node << 2, RECORD);
    this.#count--;
  }

  #clear(node: number): void {
    this.arena.u32.fill(0, node * WORDS, (node + 1) * WORDS);
  }

  // --- names -------------------------------------------------------------------------------
  /** The node whose canonical name is (parent, name), or 0. */
  byName(parent: number, name: string): number {
    const arena = this.arena;
    const u32 = arena.u32;
    let node =
      u32[(this.#nameBuckets << 2) + (hash32(name, parent ^ this.#seed) & this.#bucketMask)];
    while (node !== 0) {
      const at = node * WORDS;
      if (u32[at + W_PARENT] === parent && arena.nameEquals(u32[at + W_NAME], name)) return node;
      node = u32[at + W_NEXT_NAME];
    }
    return 0;
  }

  #linkName(node: number, name: string): void {
    const u32 = this.arena.u32;
    const at = node * WORDS;
    const bucket =
      (this.#nameBuckets << 2) + (hash32(name, u32[at + W_PARENT] ^ this.#seed) & this.#bucketMask);
    u32[at + W_NEXT_NAME] = u32[bucket];
    u32[bucket] = node;
  }

  /**
   * The name no longer leads to the node (F_UNLINKED). The text and the parent stay: an untouched
   * lower object is still reached by them.
   */
  detachName(node: number): void {
    if (this.has(node, F_UNLINKED)) return;
    this.#unlinkName(node);
    this.set(node, F_UNLINKED);
  }

  #unlinkName(node: number): void {
    const unit = this.arena.u32[node * WORDS + W_NAME];
    if (unit === 0) return;
    const hash = hash32(this.arena.name(unit), this.parent(node) ^ this.#seed);
    this.#unchain((this.#nameBuckets << 2) + (hash & this.#bucketMask), node, W_NEXT_NAME);
  }

  #freeName(node: number): void {
    if (!this.has(node, F_UNLINKED)) this.#unlinkName(node);
    const unit = this.arena.u32[node * WORDS + W_NAME];
    if (unit !== 0) this.arena.freeName(unit);
  }

  /** Gives the node another canonical name; `dropped` as in forget, for the old parent. */
  rename(node: number, parent: number, name: string, dropped: (node: number) => void): void {
    this.#freeName(node);
    this.clear(node, F_UNLINKED);
    const old = this.parent(node);
    const unit = this.arena.putName(name);
    const at = node * WORDS;
    this.arena.u32[parent * WORDS + W_CHILDREN]++;
    this.arena.u32[at + W_PARENT] = parent;
    this.arena.u32[at + W_NAME] = unit;
    this.#linkName(node, name);
    if (old !== 0) {
      this.arena.u32[old * WORDS + W_CHILDREN]--;
      this.release(old, dropped);
    }
  }

  // --- successors --------------------------------------------------------------------------
  /**
   * A new node takes over all that `node`, no directory, stands for: names, key, lower, flags. What
   * is left is a number with lookups, which lives in the new one as a child (F_RETIRED). Returns the
   * new node.
   */
  succeed(node: number): number {
    const arena = this.arena;
    const unit = arena.alloc(RECORD);
    const { u32 } = arena;
    const successor = unit >> 2;
    const [from, to] = [node * WORDS, successor * WORDS];
    const named = !this.has(node, F_UNLINKED) && u32[from + W_NAME] !== 0;
    const [layer, lo, hi] = [W_KEY_LAYER, W_KEY_LO, W_KEY_HI].map((word) => u32[from + word]);
    if (named) this.#unlinkName(node);
    this.setKey(node, 0, 0, 0);
    u32.copyWithin(to, from, from + WORDS);
    for (const word of [W_LOOKUP_LO, W_LOOKUP_HI, W_NEXT_NAME, W_NEXT_KEY]) u32[to + word] = 0;
    // Nodes retired before stay children of this one.
    u32[to + W_CHILDREN] = 1;
    u32[to + W_GENERATION] = ++u32[H_OWNER + 3];
    if (named) this.#linkName(successor, this.name(successor));
    this.setKey(successor, layer, lo, hi);
    u32[from] = (u32[from] & 0xffff) | F_RETIRED | F_ASK;
    for (const word of [W_NAME, W_LOWER, W_ALIASES]) u32[from + word] = 0;
    u32[from + W_PARENT] = successor;
    this.#count++;
    if (this.#count > this.#bucketMask) this.#grow();
    return successor;
  }

  /** The node that stands for what `node` once stood for; itself, when it is not retired. */
  current(node: number): number {
    let current = node;
    while (this.has(current, F_RETIRED)) current = this.parent(current);
    return current;
  }

  // --- further names of hard links ---------------------------------------------------------
  addAlias(node: number, parent: number, name: string): void {
    if (!this.hasName(node, parent, name)) this.#pushAlias(node, parent, name);
  }

  /** Gives the node another canonical name; the one it has becomes an alias. */
  demoteName(node: number, parent: number, name: string, dropped: (node: number) => void): void {
    if (!this.has(node, F_UNLINKED)) this.#pushAlias(node, this.parent(node), this.name(node));
    this.rename(node, parent, name, dropped);
  }

  /** All aliases of the node. */
  aliases(node: number): { parent: number; name: string }[] {
    const { arena } = this;
    const found: { parent: number; name: string }[] = [];
    for (let a = arena.u32[node * WORDS + W_ALIASES]; a !== 0; a = arena.u32[(a << 2) + 2]) {
      found.push({ parent: arena.u32[a << 2], name: arena.name(arena.u32[(a << 2) + 1]) });
    }
    return found;
  }

  #pushAlias(node: number, parent: number, name: string): void {
    const nameUnit = this.arena.putName(name);
    const unit = this.arena.alloc(ALIAS_BYTES);
    const u32 = this.arena.u32;
    const at = unit << 2;
    u32[at] = parent;
    u32[at + 1] = nameUnit;
    u32[at + 2] = u32[node * WORDS + W_ALIASES];
    u32[node * WORDS + W_ALIASES] = unit;
    u32[parent * WORDS + W_CHILDREN]++;
  }

  isCanonical(node: number, parent: number, name: string): boolean {
    const own = this.has(node, F_UNLINKED) ? 0 : this.arena.u32[node * WORDS + W_NAME];
    return own !== 0 && this.parent(node) === parent && this.arena.nameEquals(own, name);
  }

  /** True when the node is known by a name besides (parent, name). */
  hasOtherName(node: number, parent: number, name: string): boolean {
    const aliases = this.arena.u32[node * WORDS + W_ALIASES];
    if (!this.isCanonical(node, parent, name)) return !this.has(node, F_UNLINKED);
    return aliases !== 0;
  }

  /** True when (parent, name) is the canonical name or an alias of the node. */
  hasName(node: number, parent: number, name: string): boolean {
    if (this.isCanonical(node, parent, name)) return true;
    const { arena } = this;
    const u32 = arena.u32;
    for (let a = u32[node * WORDS + W_ALIASES]; a !== 0; a = u32[(a << 2) + 2]) {
      if (u32[a << 2] === parent && arena.nameEquals(u32[(a << 2) + 1], name)) return true;
    }
    return false;
  }

  removeAlias(
    node: number,
    parent: number,
    name: string,
    dropped: (node: number) => void,
  ): boolean {
    const u32 = this.arena.u32;
    let link = node * WORDS + W_ALIASES;
    while (u32[link] !== 0) {
      const unit = u32[link];
      const at = unit << 2;
      if (u32[at] === parent && this.arena.nameEquals(u32[at + 1], name)) {
        u32[link] = u32[at + 2];
        this.#freeAlias(unit);
        this.release(parent, dropped);
        return true;
      }
      link = at + 2;
    }
    return false;
  }

  /** Removes and returns one alias; the caller renames the node to it, or releases its parent. */
  takeAlias(node: number): { parent: number; name: string } | undefined {
    const u32 = this.arena.u32;
    const unit = u32[node * WORDS + W_ALIASES];
    if (unit === 0) return undefined;
    const at = unit << 2;
    const alias = { parent: u32[at], name: this.arena.name(u32[at + 1]) };
    u32[node * WORDS + W_ALIASES] = u32[at + 2];
    this.#freeAlias(unit);
    return alias;
  }

  #freeAlias(unit: number): void {
    const u32 = this.arena.u32;
    u32[u32[unit << 2] * WORDS + W_CHILDREN]--;
    this.arena.freeName(u32[(unit << 2) + 1]);
    this.arena.free(unit, ALIAS_BYTES);
  }

  // --- keys --------------------------------------------------------------------------------
  /** The node of the real object (layer id, inode number), or 0. */
  byKey(layer: number, lo: number, hi: number): number {
    const u32 = this.arena.u32;
    let node = u32[(this.#keyBuckets << 2) + this.#keyHash(layer, lo, hi)];
    while (node !== 0) {
      const at = node * WORDS;
      if (
        u32[at + W_KEY_LO] === lo &&
        u32[at + W_KEY_HI] === hi &&
        u32[at + W_KEY_LAYER] === layer
      ) {
        return node;
      }
      node = u32[at + W_NEXT_KEY];
    }
    return 0;
  }

  /** False when the node's key has another inode number, or was taken away with its name. */
  hasKeyIno(node: number, lo: number, hi: number): boolean {
    const u32 = this.arena.u32;
    const at = node * WORDS;
    if (u32[at + W_KEY_LAYER] === 0) return !this.has(node, F_UNLINKED);
    return u32[at + W_KEY_LO] === lo && u32[at + W_KEY_HI] === hi;
  }

  /** Sets the key of a node; layer 0 takes it away. */
  setKey(node: number, layer: number, lo: number, hi: number): void {
    const u32 = this.arena.u32;
    const at = node * WORDS;
    if (u32[at + W_KEY_LAYER] !== 0) {
      const old = this.#keyHash(u32[at + W_KEY_LAYER], u32[at + W_KEY_LO], u32[at + W_KEY_HI]);
      this.#unchain((this.#keyBuckets << 2) + old, node, W_NEXT_KEY);
    }
    u32[at + W_KEY_LAYER] = layer;
    u32[at + W_KEY_LO] = lo;
    u32[at + W_KEY_HI] = hi;
    if (layer !== 0) this.#linkKey(node);
  }

  #linkKey(node: number): void {
    const u32 = this.arena.u32;
    const at = node * WORDS;
    const hash = this.#keyHash(u32[at + W_KEY_LAYER], u32[at + W_KEY_LO], u32[at + W_KEY_HI]);
    const bucket = (this.#keyBuckets << 2) + hash;
    u32[at + W_NEXT_KEY] = u32[bucket];
    u32[bucket] = node;
  }

  #keyHash(layer: number, lo: number, hi: number): number {
    let h = Math.imul(lo ^ Math.imul(hi, 0x85ebca6b) ^ Math.imul(layer, 0xc2b2ae35), 0x9e3779b1);
    h ^= h >>> 16;
    return (h & this.#bucketMask) >>> 0;
  }

  // --- chains and buckets ------------------------------------------------------------------
  #unchain(bucket: number, node: number, next: number): void {
    const u32 = this.arena.u32;
    let link = bucket;
    while (u32[link] !== 0) {
      if (u32[link] === node) {
        u32[link] = u32[node * WORDS + next];
        return;
      }
      link = u32[link] * WORDS + next;
    }
  }

  #newBuckets(count: number): number {
    const unit = this.arena.alloc(count * 4);
    this.arena.u32.fill(0, unit << 2, (unit << 2) + count);
    return unit;
  }

  #grow(): void {
    this.#rehash((this.#bucketMask + 1) * 2);
  }

  /** Gives back what forgotten nodes have left. */
  trim(): void {
    let buckets = this.#bucketMask + 1;
    while (buckets > FIRST_BUCKETS && buckets > this.#count * 4) buckets /= 2;
    if (buckets <= this.#bucketMask) this.#rehash(buckets);
    this.arena.trim();
  }

  #rehash(count: number): void {
    const old = this.#bucketMask + 1;
    const oldName = this.#nameBuckets;
    const oldKey = this.#keyBuckets;
    this.#nameBuckets = this.#newBuckets(count);
    this.#keyBuckets = this.#newBuckets(count);
    this.#bucketMask = count - 1;
    this.#rechain(oldName, old, W_NEXT_NAME, (node) => {
      this.#relinkName(node);
    });
    this.#rechain(oldKey, old, W_NEXT_KEY, (node) => {
      this.#linkKey(node);
    });
    this.arena.free(oldName, old * 4);
    this.arena.free(oldKey, old * 4);
    this.#publish();
  }

  /** As #linkName, without making the name a string. */
  #relinkName(node: number): void {
    const { u32, u8 } = this.arena;
    const at = node * WORDS;
    const name = u32[at + W_NAME];
    const hash = hash32Of(u8, name * 16 + 4, u32[name << 2], u32[at + W_PARENT] ^ this.#seed);
    const bucket = (this.#nameBuckets << 2) + (hash & this.#bucketMask);
    u32[at + W_NEXT_NAME] = u32[bucket];
    u32[bucket] = node;
  }

  #rechain(buckets: number, count: number, next: number, link: (node: number) => void): void {
    for (let i = 0; i < count; i++) {
      let node = this.arena.u32[(buckets << 2) + i];
      while (node !== 0) {
        const following = this.arena.u32[node * WORDS + next];
        link(node);
        node = following;
      }
    }
  }

  /** Leaves the tables' places in the arena's header, for a successor that maps it. */
  #publish(): void {
    const u32 = this.arena.u32;
    u32[H_OWNER] = this.#nameBuckets;
    u32[H_OWNER + 1] = this.#keyBuckets;
    u32[H_OWNER + 2] = this.#bucketMask;
  }
}
