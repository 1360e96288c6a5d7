/**
 * One growable shared buffer (a memfd) and its allocator. It holds, outside the engine's heap, what exists
 * once for each inode: inode records, names, lower places, hash tables (docs/design.md, "Memory").
 *
 * - Blocks are counted in units of 16 bytes. A reference to a block is the number of its first unit; 0 is
 *   "none".
 * - A small block lies in a page of blocks of its size class. So a record of 64 bytes is aligned to 64 bytes,
 *   and its number is unit / 4. A freed block joins the free list of its class.
 * - A large block (the stack of a directory in 600 layers, a long redirect) takes a run of whole pages. A
 *   freed run serves the next block of that length; where no pages are left, a run is cut up.
 * - `trim` gives pages that are wholly free back to the kernel. A block of its own lists them (the holes): a
 *   list through the pages themselves would bring them back into memory.
 *
 * Growing replaces the views: never keep `u32` or `u8` across a call that may allocate.
 */
import '../../base/bytes.js';
import type { Native } from '../../sys/native.js';

const PAGE = 4096;
const UNIT = 16;
const UNITS_PER_PAGE = PAGE / UNIT;
/** Block sizes in units; a larger block takes whole pages. */
const CLASSES = [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128] as const;
const LARGEST = 128;
const FIRST_SIZE = 1 << 18;

/** Header words, from 1; bytes 64 to 127 are record 1, the root's (FUSE_ROOT_ID). */
const H_BUMP = 1;
const H_FREE_PAGES = 2;
const H_USED = 3;
/** Words for the owner of the arena (inodes/table.ts). */
export const H_OWNER = 32;
const H_CLASS_FREE = 40;
/** Free runs of 2 to RUN_MAX pages, by their length; a longer one comes back as pages. */
const H_RUN_FREE = 64;
const RUN_MAX = 16;
/** The holes: pairs of (first page, pages), the lowest last; how many; for how many the block was made. */
const H_HOLES = 81;
const H_HOLE_COUNT = 82;
const H_HOLE_ROOM = 83;
const HOLE_BYTES = 8;
/** Bytes that may be free, besides a quarter of what is used, before `slackens`. */
const SLACK_LEAST = 1 << 20;

interface Extent {
  readonly page: number;
  readonly pages: number;
}

/** Pages in rising order, as pages in a row. */
function extentsOf(pages: Uint32Array): Extent[] {
  const found: Extent[] = [];
  for (let i = 0, from = 0; i < pages.length; i++) {
    if (pages[i + 1] === pages[i] + 1) continue;
    found.push({ page: pages[from], pages: i + 1 - from });
    from = i + 1;
  }
  return found;
}

const classOf: number[] = [];
for (let units = 0, k = 0; units <= LARGEST; units++) {
  if (units > CLASSES[k]) k++;
  classOf[units] = k;
}

export class Arena {
  u32: Uint32Array;
  u8: Uint8Array;
  #buffer: ArrayBuffer;
  /** Pages in holes, and bytes in no block that the last trim had to leave. */
  #holePages = 0;
  #left = 0;
  readonly #native: Native;

  constructor(native: Native) {
    this.#native = native;
    this.#buffer = native.arena(FIRST_SIZE);
    this.u32 = new Uint32Array(this.#buffer);
    this.u8 = new Uint8Array(this.#buffer);
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

  /** Bytes of memory that are in no block. */
  get slack(): number {
    return (this.u32[H_BUMP] - this.#holePages) * PAGE - this.used;
  }

  /** Trimming would pay: it costs as much as what is free, and may find none of it in whole pages. */
  get slackens(): boolean {
    return this.slack - this.#left > SLACK_LEAST + this.used / 4;
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
    const at = unit * UNIT;
    this.u32[at >> 2] = name.length;
    const u8 = this.u8;
    for (let i = 0; i < name.length; i++) u8[at + 4 + i] = name.charCodeAt(i);
    return unit;
  }

  name(unit: number): string {
    const at = unit * UNIT;
    const length = this.u32[at >> 2];
    return Buffer.from(this.#buffer, at + 4, length).latin1Slice();
  }

  nameEquals(unit: number, name: string): boolean {
    const at = unit * UNIT;
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
    return this.#pop(H_FREE_PAGES) || this.#fromHoles(1) || this.#bump(1);
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
    const page = free || this.#fromHoles(pages) || this.#bump(pages);
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

  /** So many pages in a row out of a hole, or 0. */
  #fromHoles(pages: number): number {
    const { u32 } = this;
    const count = u32[H_HOLE_COUNT];
    const first = u32[H_HOLES] << 2;
    for (let i = count - 1; i >= 0; i--) {
      const at = first + 2 * i;
      if (u32[at + 1] < pages) continue;
      const page = u32[at];
      u32[at] += pages;
      u32[at + 1] -= pages;
      this.#holePages -= pages;
      while (u32[H_HOLE_COUNT] > 0 && u32[first + 2 * u32[H_HOLE_COUNT] - 1] === 0) {
        u32[H_HOLE_COUNT]--;
      }
      return page;
    }
    return 0;
  }

  /** Gives all pages that are free as a whole back to the kernel. */
  trim(): void {
    const free = this.#takeHoles();
    const holes = extentsOf(free.sort());
    const last = holes.at(-1);
    if (last && last.page + last.pages === this.u32[H_BUMP]) {
      this.u32[H_BUMP] = last.page;
      this.#punch(last);
      holes.pop();
    }
    for (const hole of holes) this.#punch(hole);
    const unit = this.alloc(Math.max(1, holes.length) * HOLE_BYTES);
    const { u32 } = this;
    for (const [i, { page, pages }] of holes.reverse().entries()) {
      u32.set([page, pages], (unit << 2) + 2 * i);
      this.#holePages += pages;
    }
    u32[H_HOLES] = unit;
    u32[H_HOLE_COUNT] = holes.length;
    u32[H_HOLE_ROOM] = Math.max(1, holes.length);
    this.#left = this.slack;
  }

  #punch({ page, pages }: Extent): void {
    // If the kernel refuses them, they stay in memory, and are still free.
    this.#native.arenaTrim(this.#buffer, page * PAGE, (page + pages) * PAGE);
  }

  /** Takes all free pages out of their lists, those of holes too. */
  #takeHoles(): Uint32Array {
    const { u32 } = this;
    const pages: number[] = [];
    const take = (page: number, count: number): void => {
      for (let i = 0; i < count; i++) pages.push(page + i);
    };
    for (let i = 0; i < u32[H_HOLE_COUNT]; i++) {
      const at = (u32[H_HOLES] << 2) + 2 * i;
      take(u32[at], u32[at + 1]);
    }
    u32[H_HOLE_COUNT] = this.#holePages = 0;
    if (u32[H_HOLES] !== 0) this.free(u32[H_HOLES], u32[H_HOLE_ROOM] * HOLE_BYTES);
    u32[H_HOLES] = 0;
    for (let page = this.#pop(H_FREE_PAGES); page !== 0; page = this.#pop(H_FREE_PAGES)) {
      take(page, 1);
    }
    for (let n = 2; n <= RUN_MAX; n++) {
      const head = H_RUN_FREE + n;
      for (let page = this.#pop(head); page !== 0; page = this.#pop(head)) take(page, n);
    }
    for (let k = 0; k < CLASSES.length; k++) this.#takeClass(k, pages);
    return Uint32Array.from(pages);
  }

  /** Takes the pages of a class of which all blocks are free. */
  #takeClass(k: number, pages: number[]): void {
    const { u32 } = this;
    if (u32[H_CLASS_FREE + k] === 0) return;
    const all = Math.floor(UNITS_PER_PAGE / CLASSES[k]);
    const free = new Uint16Array(u32[H_BUMP]);
    for (let unit = u32[H_CLASS_FREE + k]; unit !== 0; unit = u32[unit << 2]) {
      const page = Math.floor(unit / UNITS_PER_PAGE);
      if (++free[page] === all) pages.push(page);
    }
    let link = H_CLASS_FREE + k;
    for (let unit = u32[link]; unit !== 0; unit = u32[unit << 2]) {
      if (free[Math.floor(unit / UNITS_PER_PAGE)] === all) continue;
      u32[link] = unit;
      link = unit << 2;
    }
    u32[link] = 0;
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
