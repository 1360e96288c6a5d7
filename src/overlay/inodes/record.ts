/**
 * A node's record in the inode table: 64 bytes of the arena, as words. The node's number is the FUSE node id.
 * This file reads and sets the fields that are plain state.
 */
import type { Native } from '../../sys/native.js';
import { Arena } from './arena.js';

/** Record words. */
export const W_MODE = 0;
export const W_PARENT = 1;
export const W_NAME = 2;
export const W_LOOKUP_LO = 3;
export const W_LOOKUP_HI = 4;
export const W_CHILDREN = 5;
export const W_NEXT_NAME = 6;
export const W_NEXT_KEY = 7;
export const W_LOWER = 8;
const W_INO_LO = 9;
const W_INO_HI = 10;
export const W_KEY_LAYER = 11;
export const W_KEY_LO = 12;
export const W_KEY_HI = 13;
export const W_GENERATION = 14;
export const W_ALIASES = 15;
export const WORDS = 16;
export const RECORD = WORDS * 4;

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
/** Lower file with several links: it is copied up into the index, for all its names (lookup/hardLinks.ts). */
export const F_LINKED = 1 << 23;
/**
 * Upper file with an entry in the index: that is its canonical name, below `indexDir`; the names a
 * client sees are aliases.
 */
export const F_INDEXED = 1 << 24;
/** Indexed file: some alias is only a lower's name; the upper file has no link there yet. */
export const F_COVERED = 1 << 25;
/** Attributes change without a request: the kernel must ask for them each time (access/passthrough.ts). */
export const F_ASK = 1 << 28;
/** Only its readers still know this node: its parent is the node that took everything over. */
export const F_RETIRED = 1 << 29;
/** chattr(1) made it immutable or append-only (guard.ts). */
export const F_GUARDED = 1 << 27;
/** It is known that nothing of the kind is so. */
export const F_UNGUARDED = 1 << 31;
/** Upper directory: empty files in it may be whiteouts (its `opaque` is `x`). */
export const F_XWHITEOUTS = 1 << 30;
/** Regular file: capabilities were set on it while the kernel may have held unwritten pages of it. */
export const F_CAPABLE = 1 << 26;

/** The records, each field by its name. */
export class InodeRecords {
  readonly arena: Arena;

  constructor(native: Native) {
    this.arena = new Arena(native);
  }

  /** False for a number no live node has; every request's node id passes here first. */
  exists(node: number): boolean {
    return node * WORDS < this.arena.u32.length && this.held(node);
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

  protected held(node: number): boolean {
    const u32 = this.arena.u32;
    const at = node * WORDS;
    return u32[at + W_LOOKUP_LO] !== 0 || u32[at + W_LOOKUP_HI] !== 0 || u32[at + W_CHILDREN] !== 0;
  }

  protected wipe(node: number): void {
    this.arena.u32.fill(0, node * WORDS, (node + 1) * WORDS);
  }
}
