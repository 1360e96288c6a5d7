/**
 * Reads ahead from file to file. A program that copies, packs or searches a directory reads its files one
 * after the other, and waits for the disk at the beginning of each small file. The next file can be guessed:
 * tar, grep -r and find -exec follow the listing, cp follows the inode numbers (savedir), rsync and the shell
 * follow the names. So while one file is read, the data of the next ones is requested.
 */
import { DT_REG, isReg } from '../../base/mode.js';
import type { DirListing } from '../listing/dirListing.js';
import { F_METACOPY } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';
import { openAhead } from './files.js';

/** Files that were read in order before it is believed; so much doubt undoes it. */
const BELIEVED = 2;
const MOST_TRUST = 6;
/** Files asked for before they are read. */
const AHEAD = 3;
/** Of two files that follow one another, what lies between is empty, or the kernel has it. */
const GAP = 12;
/** Bytes that are asked for; from there on the kernel reads ahead. */
const SIZE = 128 << 10;
/** Of larger directories too few entries are known before they are looked up (dirOps.ts). */
const LARGEST = 4096;
/** Files that were asked for and not read, as the kernel has them or they are empty, which are kept open. */
const UNREAD = 256;

/** Slots of a directory's files in some order. */
type Sort = (listing: DirListing, a: number, b: number) => number;
const ORDERS: readonly (Sort | undefined)[] = [
  undefined, // as listed
  (listing, a, b) => listing.inoHi(a) - listing.inoHi(b) || listing.inoLo(a) - listing.inoLo(b),
  (listing, a, b) => (listing.nameOf(a) < listing.nameOf(b) ? -1 : 1),
];

export class ReadAhead {
  #trust = 0;
  #order = 0;
  #parent = 0;
  /** The last one read in `#parent`, if it has been the only one. */
  #first = '';
  /** The directory's files; undefined while only one was read, and when they are read in no order. */
  #names: readonly string[] | undefined;
  #at = -1;
  /** Everything before this position has been asked for. */
  #next = 0;
  /** Orders that were tried on this directory. */
  #tried = 0;

  /** The beginning of a file (`ov.readFromStart`) was read and answered: asks for what is likely to be read next. */
  go(ov: Overlay): void {
    const node = ov.readFromStart;
    ov.readFromStart = 0;
    const parent = ov.table.parent(node);
    const listing = ov.live ? undefined : ov.dirListings.get(parent);
    if (!listing || listing.size > LARGEST) return;
    const name = ov.table.name(node);
    if (parent !== this.#parent) this.#enter(parent, name);
    else if (!this.#names && this.#tried === 0) this.#list(listing, this.#first);
    if (!this.#names && this.#tried === 0 && this.#trust >= BELIEVED) this.#list(listing, '');
    if (this.#follows(name)) this.#ask(ov, listing);
    else this.#doubt(listing, name);
  }

  #enter(parent: number, name: string): void {
    this.#parent = parent;
    this.#first = name;
    this.#names = undefined;
    this.#tried = 0;
  }

  /** The files in the order that is believed in, `after` being the last one read ("": none yet). */
  #list(listing: DirListing, after: string): void {
    const slots: number[] = [];
    for (let at = 0; at < listing.positions; at++) {
      const slot = listing.slotAt(at);
      if (slot !== undefined && listing.type(slot) === DT_REG) slots.push(slot);
    }
    const sort = ORDERS[this.#order];
    if (sort) slots.sort((a, b) => sort(listing, a, b));
    this.#names = slots.map((slot) => listing.nameOf(slot));
    this.#at = after === '' ? -1 : this.#names.indexOf(after);
    this.#next = this.#at + 1;
    this.#tried++;
  }

  /** `name` comes soon after the last one; it is the last one now. */
  #follows(name: string): boolean {
    if (!this.#names) return false;
    const end = Math.min(this.#names.length, this.#at + 1 + GAP);
    for (let at = this.#at + 1; at < end; at++) {
      if (this.#names[at] !== name) continue;
      this.#at = at;
      this.#trust = Math.min(this.#trust + 1, MOST_TRUST);
      return true;
    }
    return false;
  }

  /** Another order is tried from here on, each once in a directory. */
  #doubt(listing: DirListing, name: string): void {
    if (!this.#names) return;
    this.#trust = 0;
    if (this.#tried >= ORDERS.length) {
      this.#names = undefined;
      return;
    }
    this.#order = (this.#order + 1) % ORDERS.length;
    this.#list(listing, name);
  }

  #ask(ov: Overlay, listing: DirListing): void {
    if (!this.#names || this.#trust < BELIEVED) return;
    const end = Math.min(this.#names.length, this.#at + 1 + AHEAD);
    for (let at = Math.max(this.#next, this.#at + 1); at < end; at++) {
      const name = this.#names[at];
      if (listing.slot(name) !== undefined) this.#open(ov, ov.table.byName(this.#parent, name));
    }
    this.#next = Math.max(this.#next, end);
  }

  /** Whatever goes wrong here, the READ of the file itself will meet. */
  #open(ov: Overlay, node: number): void {
    // A name of the list may be another object's by now, which nobody has asked to open.
    if (node === 0 || !isReg(ov.table.mode(node)) || ov.table.has(node, F_METACOPY)) return;
    const fd = openAhead(ov, node);
    if (fd < 0) return;
    if (ov.openedAhead.size > UNREAD) {
      const [oldest] = ov.openedAhead;
      ov.openedAhead.delete(oldest);
      ov.dropFile(oldest); // else it would be open and nobody's backing
    }
    ov.sys.native.willNeed(fd, SIZE);
  }
}
