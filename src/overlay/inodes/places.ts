/**
 * Where lower objects lie. A place is one directory of one layer: layer id, parent place and name, with the
 * directory's inode number and a hash of number and change time as they were when it was found.
 *
 * A directory node has a stack of places, topmost first. Any other lower node has the place of the directory
 * that holds it. Places are counted, because a node can move away from the parent under which it was found.
 * All of them lie in the arena.
 */
import type { Arena } from './arena.js';

const P_LAYER = 0;
const P_PARENT = 1;
const P_NAME = 2;
const P_REFS = 3;
const P_INO = 4;
const P_STAMP = 5;
const PLACE_BYTES = 24;
/** Flags of a place, above the layer id. */
export const PLACE_XWHITEOUTS = 0x8000_0000;
/** A union has written to the directory, or to one above it: files may be metadata-only copies. */
export const PLACE_TOUCHED = 0x4000_0000;
/** A file of a data-only layer: this layer is known to have it. */
export const PLACE_FOUND = 0x2000_0000;
const LAYER_MASK = 0x1fff_ffff;

export class LowerTable {
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  // --- places ------------------------------------------------------------------------------
  /**
   * A new place with one reference; `parent` 0 and no name for a layer's root. Below a root the name
   * may be a path (an absolute redirect). `flags`: PLACE_*.
   */
  addPlace(layer: number, parent: number, name: string, flags: number): number {
    const nameUnit = parent === 0 ? 0 : this.#arena.putName(name);
    const unit = this.#arena.alloc(PLACE_BYTES);
    const at = unit << 2;
    const u32 = this.#arena.u32;
    u32[at + P_LAYER] = (layer | flags) >>> 0;
    u32[at + P_PARENT] = parent;
    u32[at + P_NAME] = nameUnit;
    u32[at + P_REFS] = 1;
    u32[at + P_INO] = 0;
    u32[at + P_STAMP] = 0;
    if (parent !== 0) this.hold(parent);
    return unit;
  }

  /** What tells two states of a directory apart; a place without it is no directory that is listed. */
  setStamp(place: number, ino: number, stamp: number): void {
    const at = place << 2;
    this.#arena.u32[at + P_INO] = ino;
    this.#arena.u32[at + P_STAMP] = stamp;
  }

  hold(place: number): void {
    this.#arena.u32[(place << 2) + P_REFS]++;
  }

  /** Gives a reference back; `ended` is told of every place that goes. */
  releasePlace(place: number, ended: (place: number) => void): void {
    const u32 = this.#arena.u32;
    for (let current = place; current !== 0; ) {
      const at = current << 2;
      if (--u32[at + P_REFS] > 0) return;
      ended(current);
      const parent = u32[at + P_PARENT];
      if (u32[at + P_NAME] !== 0) this.#arena.freeName(u32[at + P_NAME]);
      this.#arena.free(current, PLACE_BYTES);
      current = parent;
    }
  }

  /** The file at `place` was found in another layer: `parent` is the place of that layer's root. */
  settle(place: number, layer: number, parent: number): void {
    const at = place << 2;
    const u32 = this.#arena.u32;
    this.hold(parent);
    u32[(u32[at + P_PARENT] << 2) + P_REFS]--;
    u32[at + P_LAYER] = (layer | PLACE_FOUND) >>> 0;
    u32[at + P_PARENT] = parent;
  }

  layerOf(place: number): number {
    return this.#arena.u32[(place << 2) + P_LAYER] & LAYER_MASK;
  }

  /** True when the directory carries one of the marks `flags` (PLACE_*). */
  marked(place: number, flags: number): boolean {
    return (this.#arena.u32[(place << 2) + P_LAYER] & flags) !== 0;
  }

  /** Low half of the directory's inode number when it was found. */
  inoOf(place: number): number {
    return this.#arena.u32[(place << 2) + P_INO];
  }

  /** `stampOf` the directory when it was found. */
  stampOf(place: number): number {
    return this.#arena.u32[(place << 2) + P_STAMP];
  }

  parentOf(place: number): number {
    return this.#arena.u32[(place << 2) + P_PARENT];
  }

  nameOf(place: number): string {
    return this.#arena.name(this.#arena.u32[(place << 2) + P_NAME]);
  }

  // --- stacks ------------------------------------------------------------------------------
  /** Stores a stack; takes over the caller's references. 0 for an empty one. */
  addStack(places: readonly number[]): number {
    if (places.length === 0) return 0;
    const unit = this.#arena.alloc(4 + places.length * 4);
    const at = unit << 2;
    const u32 = this.#arena.u32;
    u32[at] = places.length;
    for (let i = 0; i < places.length; i++) u32[at + 1 + i] = places[i];
    return unit;
  }

  releaseStack(stack: number, ended: (place: number) => void): void {
    if (stack === 0) return;
    const count = this.count(stack);
    for (let i = 0; i < count; i++) this.releasePlace(this.place(stack, i), ended);
    this.#arena.free(stack, 4 + count * 4);
  }

  count(stack: number): number {
    return stack === 0 ? 0 : this.#arena.u32[stack << 2];
  }

  place(stack: number, index: number): number {
    return this.#arena.u32[(stack << 2) + 1 + index];
  }
}
