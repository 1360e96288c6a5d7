/**
 * Finds nodes in two ways: by canonical name (parent, name), and by key (layer id, inode number of the real
 * object). Each is a hash table whose chains run through the records. The hashes of names are seeded, because
 * strangers choose the names.
 */
import { hash32, hash32Of, newSeed } from '../../base/hash.js';
import type { Native } from '../../sys/native.js';
import {
  F_UNLINKED,
  InodeRecords,
  W_KEY_HI,
  W_KEY_LAYER,
  W_KEY_LO,
  W_NAME,
  W_NEXT_KEY,
  W_NEXT_NAME,
  W_PARENT,
  WORDS,
} from './record.js';

/** The least there are. There are at most twice as many as nodes (four times after a trim), at least as many. */
const FIRST_BUCKETS = 1024;

export class InodeChains extends InodeRecords {
  /** Nodes that are in the table. */
  protected count = 0;
  #nameBuckets: number;
  #keyBuckets: number;
  #bucketMask: number;
  readonly #seed = newSeed();

  constructor(native: Native) {
    super(native);
    const buckets = FIRST_BUCKETS;
    this.#nameBuckets = this.#newBuckets(buckets);
    this.#keyBuckets = this.#newBuckets(buckets);
    this.#bucketMask = buckets - 1;
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

  protected linkName(node: number, name: string): void {
    const u32 = this.arena.u32;
    const at = node * WORDS;
    const bucket =
      (this.#nameBuckets << 2) + (hash32(name, u32[at + W_PARENT] ^ this.#seed) & this.#bucketMask);
    u32[at + W_NEXT_NAME] = u32[bucket];
    u32[bucket] = node;
  }

  protected unlinkName(node: number): void {
    const unit = this.arena.u32[node * WORDS + W_NAME];
    if (unit === 0) return;
    const hash = hash32(this.arena.name(unit), this.parent(node) ^ this.#seed);
    this.#unchain((this.#nameBuckets << 2) + (hash & this.#bucketMask), node, W_NEXT_NAME);
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

  /** One more node is in the table. */
  protected counted(): void {
    this.count++;
    if (this.count > this.#bucketMask) this.#rehash((this.#bucketMask + 1) * 2);
  }

  /** Gives back what forgotten nodes have left. */
  trim(): void {
    let buckets = this.#bucketMask + 1;
    while (buckets > FIRST_BUCKETS && buckets > this.count * 4) buckets /= 2;
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
}
