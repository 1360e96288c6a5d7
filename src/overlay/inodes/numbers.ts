/**
 * Which node is shown with the number of the lower object that it was copied from. A copy that was made
 * beneath, marks included (`cp -a` in an upper), says that it comes from the same one; but programs take
 * two names with one number for one file (diff, cmp, cp). The one that is met first has the number, and
 * the others have their own; kernel overlayfs answers ESTALE for them.
 */
import { F_UNLINKED } from './record.js';
import type { InodeTable } from './table.js';

const FIRST_SLOTS = 64;

/** Nodes by number: open addressing. One that ends stays until the slots are filled anew; the table tells then. */
export class Numbers {
  readonly #table: InodeTable;
  #slots = new Uint32Array(FIRST_SLOTS);
  #used = 0;

  constructor(table: InodeTable) {
    this.#table = table;
  }

  /** The node that has a name and is shown with the number; 0 for none. */
  owner(lo: number, hi: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let at = hash(lo, hi) & mask; slots[at] !== 0; at = (at + 1) & mask) {
      if (this.#owns(slots[at], lo, hi)) return slots[at];
    }
    return 0;
  }

  add(node: number): void {
    if (this.#used * 2 >= this.#slots.length) this.#grow();
    this.#put(node);
  }

  #owns(node: number, lo: number, hi: number): boolean {
    const table = this.#table;
    if (!table.exists(node) || table.has(node, F_UNLINKED)) return false;
    return table.inoLo(node) === lo && table.inoHi(node) === hi;
  }

  #put(node: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = hash(this.#table.inoLo(node), this.#table.inoHi(node)) & mask;
    while (slots[at] !== 0 && slots[at] !== node) at = (at + 1) & mask;
    if (slots[at] === 0) this.#used++;
    slots[at] = node;
  }

  #grow(): void {
    const table = this.#table;
    const living = this.#slots.filter((node) => node !== 0 && table.exists(node));
    let slots = FIRST_SLOTS;
    while (slots < living.length * 4) slots *= 2;
    this.#slots = new Uint32Array(slots);
    this.#used = 0;
    for (const node of living) this.#put(node);
  }
}

const hash = (lo: number, hi: number): number => Math.imul(lo ^ (hi << 7), 0x9e37_79b1) >>> 8;
