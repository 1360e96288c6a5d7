/**
 * One growable shared buffer (a memfd) and its allocator. All state that must outlive the engine's
 * heap lies in it: inode records, names, lower places, hash tables (DESIGN.md decision 4).
 *
 * Blocks are counted in units of 16 bytes; a block's reference is its unit number, 0 is "none".
 * Small blocks come from pages that hold one size class each, so a 64-byte record is 64-byte
 * aligned and its record number is unit / 4. Freed blocks go to the class's free list; whole runs
 * of pages serve large blocks (the stack of a directory in 600 layers, a long redirect), and come
 * back as runs for the next of that length; where pages run out, a run is cut up.
 *
 * Growing replaces the views: never keep `u32` or `u8` across a call that may allocate.
 */
import '../base/bytes.js';
import type { Native } from '../sys/native.js';

const PAGE = 4096;
const UNIT = 16;
const UNITS_PER_PAGE = PAGE / UNIT;
/** Block sizes in units; a larger block takes whole pages. */
const CLASSES = [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128] as const;
const LARGEST = 128;
const FIRST_SIZE = 1 << 18;

/** Header words; bytes 64 to 127 are record 1, the root's (FUSE_ROOT_ID). */
const H_MAGIC = 0;
const H_BUMP = 1;
const H_FREE_PAGES = 2;
const H_USED = 3;
/** Eight words for the owner of the arena (table roots and sizes). */
export const H_OWNER = 32;
const H_CLASS_FREE = 40;
/** Free runs of 2 to RUN_MAX pages, by their length; a longer one comes back as pages. */
const H_RUN_FREE = 64;
const RUN_MAX = 16;
const MAGIC = 0x31415453;

const classOf: number[] = [];
for (let units = 0, k = 0; units <= LARGEST; units++) {
  if (units > CLASSES[k]) k++;
  classOf[units] = k;
}

export class Arena {
  u32: Uint32Array;
  u8: Uint8Array;
  #buffer: ArrayBuffer;
  readonly #native: Native;

  constructor(native: Native) {
    this.#native = native;
    this.#buffer = native.arena(FIRST_SIZE);
    this.u32 = new Uint32Array(this.#buffer);
    this.u8 = new Uint8Array(this.#buffer);
    this.u32[H_MAGIC] = MAGIC;
    this.u32[H_BUMP] = 1;
  }

  /** Unmaps the memory; nothing of it may be used afterwards. */
  close(): void {
    this.#native.arenaFree(this.#buffer);
  }

  /** Bytes handed out to live blocks. */
  get used(): number {
    return this.u32[H_USED] * UNIT;
  }

  /** A block of at least `bytes`; its content is whatever was there before. Returns its unit. */
  alloc(bytes: number): number {
    const units = Math.ceil(bytes / UNIT);
    if (units > LARGEST) return this.#allocPages(Math.ceil(units / UNITS_PER_PAGE));
    const k = classOf[units];
    const head = H_CLASS_FREE + k;
    if (this.u32[head] === 0) this.#refill(k);
    const u32 = this.u32;
    const unit = u32[head];
    u32[head] = u32[unit << 2];
    u32[H_USED] += CLASSES[k];
    return unit;
  }

  /** Gives back a block of `bytes`, the number it was asked for with. */
  free(unit: number, bytes: number): void {
    const units = Math.ceil(bytes / UNIT);
    const u32 = this.u32;
    if (units > LARGEST) {
      const pages = Math.ceil(units / UNITS_PER_PAGE);
      u32[H_USED] -= pages * UNITS_PER_PAGE;
      this.#freePages(unit / UNITS_PER_PAGE, pages);
      return;
    }
    const k = classOf[units];
    u32[unit << 2] = u32[H_CLASS_FREE + k];
    u32[H_CLASS_FREE + k] = unit;
    u32[H_USED] -= CLASSES[k];
  }

  /** Stores a name; block layout: u32 length, bytes. */
  putName(name: string): number {
    const unit = this.alloc(name.length + 4);
    const at = unit << 4;
    this.u32[at >> 2] = name.length;
    const u8 = this.u8;
    for (let i = 0; i < name.length; i++) u8[at + 4 + i] = name.charCodeAt(i);
    return unit;
  }

  name(unit: number): string {
    const at = unit << 4;
    const length = this.u32[at >> 2];
    return Buffer.from(this.#buffer, at + 4, length).latin1Slice();
  }

  nameEquals(unit: number, name: string): boolean {
    const at = unit << 4;
    if (this.u32[at >> 2] !== name.length) return false;
    const u8 = this.u8;
    for (let i = 0; i < name.length; i++) {
      if (u8[at + 4 + i] !== name.charCodeAt(i)) return false;
    }
    return true;
  }

  freeName(unit: number): void {
    this.free(unit, this.u32[unit << 2] + 4);
  }

  #refill(k: number): void {
    const page = this.#takePage();
    const units = CLASSES[k];
    const u32 = this.u32;
    let next = 0;
    for (let i = Math.floor(UNITS_PER_PAGE / units) - 1; i >= 0; i--) {
      const unit = page * UNITS_PER_PAGE + i * units;
      u32[unit << 2] = next;
      next = unit;
    }
    u32[H_CLASS_FREE + k] = next;
  }

  #takePage(): number {
    if (this.u32[H_FREE_PAGES] === 0) this.#cutRun();
    return this.#pop(H_FREE_PAGES) || this.#bump(1);
  }

  /** The shortest free run becomes single pages. */
  #cutRun(): void {
    for (let pages = 2; pages <= RUN_MAX; pages++) {
      const page = this.#pop(H_RUN_FREE + pages);
      if (page === 0) continue;
      for (let i = 0; i < pages; i++) this.#push(H_FREE_PAGES, page + i);
      return;
    }
  }

  #allocPages(pages: number): number {
    const free =
      pages === 1 ? this.#takePage() : pages > RUN_MAX ? 0 : this.#pop(H_RUN_FREE + pages);
    const page = free || this.#bump(pages);
    this.u32[H_USED] += pages * UNITS_PER_PAGE;
    return page * UNITS_PER_PAGE;
  }

  #freePages(page: number, pages: number): void {
    if (pages > 1 && pages <= RUN_MAX) this.#push(H_RUN_FREE + pages, page);
    else for (let i = 0; i < pages; i++) this.#push(H_FREE_PAGES, page + i);
  }

  /** The first of a list of pages or runs, or 0. */
  #pop(head: number): number {
    const page = this.u32[head];
    if (page !== 0) this.u32[head] = this.u32[page * (PAGE / 4)];
    return page;
  }

  #push(head: number, page: number): void {
    this.u32[page * (PAGE / 4)] = this.u32[head];
    this.u32[head] = page;
  }

  #bump(pages: number): number {
    const page = this.u32[H_BUMP];
    const end = (page + pages) * PAGE;
    if (end > this.#buffer.byteLength) {
      let size = this.#buffer.byteLength;
      while (size < end) size *= 2;
      const smaller = this.#buffer;
      this.#buffer = this.#native.arenaGrow(smaller, size);
      this.#native.arenaFree(smaller);
      this.u32 = new Uint32Array(this.#buffer);
      this.u8 = new Uint8Array(this.#buffer);
    }
    this.u32[H_BUMP] = page + pages;
    return page;
  }
}
