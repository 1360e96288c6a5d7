/**
 * The inode table: what the kernel knows of this mount, in typed arrays over one arena.
 *
 * A node's record (record.ts) is found by its canonical name and, where its real object is unambiguous, by
 * its key (chains.ts). Further names of a hard-linked upper file are aliases: a chain of blocks at the node.
 *
 * A node lives while the kernel holds lookups of it, or while it has child nodes. Only this file adds and
 * removes nodes.
 */
import { S_IFDIR } from '../../base/mode.js';
import { ROOT } from '../../protocol/flags.js';
import type { Native } from '../../sys/native.js';
import { H_OWNER } from './arena.js';
import { InodeChains } from './chains.js';
import {
  F_ASK,
  F_IMPURE,
  F_RETIRED,
  F_UNLINKED,
  F_UPPER,
  RECORD,
  WORDS,
  W_ALIASES,
  W_CHILDREN,
  W_GENERATION,
  W_KEY_HI,
  W_KEY_LAYER,
  W_KEY_LO,
  W_LOOKUP_HI,
  W_LOOKUP_LO,
  W_LOWER,
  W_MODE,
  W_NAME,
  W_NEXT_KEY,
  W_NEXT_NAME,
  W_PARENT,
} from './record.js';

const ALIAS_BYTES = 16;
/** Header word of the arena: the node of the index. */
const H_INDEX_DIR = H_OWNER + 4;

export class InodeTable extends InodeChains {
  constructor(native: Native) {
    super(native);
    this.wipe(ROOT);
    this.arena.u32[ROOT * WORDS + W_LOOKUP_LO] = 1;
    this.count = 1;
  }

  get size(): number {
    return this.count;
  }

  /** The directory node that stands for the index, which no path leads to; made when first asked for. */
  get indexDir(): number {
    const known = this.arena.u32[H_INDEX_DIR];
    if (known !== 0) return known;
    const node = this.create(0, '', S_IFDIR);
    this.remember(node);
    this.set(node, F_UPPER | F_IMPURE);
    this.arena.u32[H_INDEX_DIR] = node;
    this.count--;
    return node;
  }

  /** True for that node; makes none. */
  isIndexDir(node: number): boolean {
    return this.arena.u32[H_INDEX_DIR] === node;
  }

  // --- life --------------------------------------------------------------------------------
  /** A node for (parent, name) with no lookups yet; the caller sets its other fields, then calls `remember`. */
  create(parent: number, name: string, mode: number): number {
    const arena = this.arena;
    const unit = arena.alloc(RECORD);
    const nameUnit = name === '' ? 0 : arena.putName(name);
    const node = unit >> 2;
    this.wipe(node);
    const at = node * WORDS;
    const u32 = arena.u32;
    u32[at + W_GENERATION] = ++u32[H_OWNER + 3];
    u32[at + W_MODE] = mode & 0xffff;
    u32[at + W_NAME] = nameUnit;
    u32[at + W_PARENT] = parent;
    if (parent !== 0) u32[parent * WORDS + W_CHILDREN]++;
    if (name !== '') this.linkName(node, name);
    this.counted();
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
    while (current > ROOT && !this.held(current)) {
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

  #destroy(node: number): void {
    this.#freeName(node);
    this.setKey(node, 0, 0, 0);
    this.arena.free(node << 2, RECORD);
    this.count--;
  }

  // --- names -------------------------------------------------------------------------------
  /**
   * The name no longer leads to the node (F_UNLINKED). The text and the parent stay: an untouched
   * lower object is still reached by them.
   */
  detachName(node: number): void {
    if (this.has(node, F_UNLINKED)) return;
    this.unlinkName(node);
    this.set(node, F_UNLINKED);
  }

  #freeName(node: number): void {
    if (!this.has(node, F_UNLINKED)) this.unlinkName(node);
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
    this.linkName(node, name);
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
    if (named) this.unlinkName(node);
    this.setKey(node, 0, 0, 0);
    u32.copyWithin(to, from, from + WORDS);
    for (const word of [W_LOOKUP_LO, W_LOOKUP_HI, W_NEXT_NAME, W_NEXT_KEY]) u32[to + word] = 0;
    // Nodes retired before stay children of this one.
    u32[to + W_CHILDREN] = 1;
    u32[to + W_GENERATION] = ++u32[H_OWNER + 3];
    if (named) this.linkName(successor, this.name(successor));
    this.setKey(successor, layer, lo, hi);
    u32[from] = (u32[from] & 0xffff) | F_RETIRED | F_ASK;
    for (const word of [W_NAME, W_LOWER, W_ALIASES]) u32[from + word] = 0;
    u32[from + W_PARENT] = successor;
    this.counted();
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
}
