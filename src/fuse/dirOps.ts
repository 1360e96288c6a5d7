/** READDIR and READDIRPLUS: encode the merged listing in the order of cookies. */
import { COOKIE_DOT, COOKIE_DOTDOT } from '../base/hash.js';
import { DT_DIR, DT_REG, DT_UNKNOWN, dtype } from '../base/mode.js';
import type { DirListing } from '../overlay/listing/dirListing.js';
import { Found } from '../overlay/hit.js';
import type { Overlay } from '../overlay/overlay.js';
import { nodeOfHit, parentOf, resolve } from '../overlay/lookup/lookup.js';
import { isBare } from '../overlay/access/xattr.js';
import { dirListingOf, shedMark } from '../overlay/lookup/readdir.js';
import { DIRENT, DIRENTPLUS, ENTRY_OUT, READ_IN } from '../protocol/layout.js';
import { MAX_IO } from '../sys/memory.js';
import { encodeEntry } from './encode.js';
import { BODY, REPLY, type Served, word } from './served.js';

/**
 * Up to this many entries a directory is listed with attributes whatever the kernel asks for next
 * (READDIRPLUS_AUTO would send a LOOKUP each); a larger one without, which the kernel allows: it
 * then looks up what it needs.
 */
const PLUS_MAX = 4096;

/** FUSE_UNKNOWN_INO of libfuse: readdir(3) leaves out an entry whose number is 0. */
const UNKNOWN_INO = 0xffff_ffff;

export const onReaddir = (s: Served, node: number): number => list(s, node, false);
export const onReaddirplus = (s: Served, node: number): number => list(s, node, true);

function list(s: Served, node: number, plus: boolean): number {
  const cookie = s.ov.sys.u64(BODY + READ_IN.offset);
  if (s.ov.live && cookie === 0) s.ov.dirListings.drop(node);
  const listing = dirListingOf(s.ov, node);
  if (typeof listing === 'number') return listing;
  shedMark(s.ov, node, listing);
  const end = REPLY + Math.min(word(s, READ_IN.size_), MAX_IO);
  const reply = new DirReply(s, node, listing, plus);
  if (cookie < COOKIE_DOT) reply.addDot('.', node, COOKIE_DOT, end);
  if (cookie < COOKIE_DOTDOT) reply.addDot('..', parentOf(s.ov, node), COOKIE_DOTDOT, end);
  const { positions } = listing;
  for (let i = listing.after(cookie); i < positions; i++) {
    const slot = listing.slotAt(i);
    if (slot === undefined) continue;
    if (!reply.add(listing.nameAt(i), slot, listing.cookie(i), end)) break;
  }
  return reply.at - REPLY;
}

/** The records of one reply. */
class DirReply {
  /** Where the next one belongs. */
  at: number = REPLY;
  readonly #ov: Overlay;
  readonly #node: number;
  readonly #listing: DirListing;
  readonly #plus: boolean;
  /** Each entry is looked up, too. */
  readonly #attributes: boolean;

  constructor({ ov }: Served, node: number, listing: DirListing, plus: boolean) {
    this.#ov = ov;
    this.#node = node;
    this.#listing = listing;
    this.#plus = plus;
    this.#attributes = plus && listing.size <= PLUS_MAX && !ov.live;
  }

  /** "." or "..", which carry no lookup. `node` is what it stands for. */
  addDot(name: string, node: number, cookie: number, end: number): void {
    const size = this.#recordSize(name);
    if (this.at + size > end) return;
    if (this.#plus) this.#noEntry();
    const { table } = this.#ov;
    this.#put(table.inoLo(node), table.inoHi(node), cookie, DT_DIR, name);
    this.at += size;
  }

  /** False when the reply is full. An entry that has vanished is left out. */
  add(name: string, slot: number, cookie: number, end: number): boolean {
    const size = this.#recordSize(name);
    if (this.at + size > end) return false;
    if (this.#attributes) {
      if (!this.#addLooked(name, slot, cookie)) return true;
    } else {
      if (this.#plus) this.#noEntry();
      this.#addListed(name, slot, cookie);
    }
    this.at += size;
    return true;
  }

  #recordSize(name: string): number {
    return ((this.#plus ? DIRENTPLUS.size : DIRENT.size) + name.length + 7) & ~7;
  }

  /** A READDIRPLUS record without attributes. */
  #noEntry(): void {
    this.#ov.sys.u32.fill(0, this.at >> 2, (this.at + ENTRY_OUT.size) >> 2);
  }

  /** With attributes, as a LOOKUP answers; false when the entry has vanished. */
  #addLooked(name: string, slot: number, cookie: number): boolean {
    const ov = this.#ov;
    let node = ov.table.byName(this.#node, name);
    let stat = ov.sys.stats.reply;
    // An entry that cannot be looked up is still listed; a stat of it gets the error.
    if (node !== 0) {
      if (ov.stat(node, stat) < 0) return this.#addBare(name, slot, cookie);
    } else {
      if (resolve(ov, this.#node, name) < 0) return this.#addBare(name, slot, cookie);
      if (ov.hit.found === Found.None || ov.hit.found === Found.UpperWhiteout) return false;
      node = nodeOfHit(ov, this.#node, name);
      stat = ov.hit.stat;
      if (ov.complete(node, stat) < 0) {
        ov.table.release(node, ov.dropped);
        return this.#addBare(name, slot, cookie);
      }
    }
    if (encodeEntry(ov, node, stat, this.at) < 0) {
      ov.table.release(node, ov.dropped);
      return this.#addBare(name, slot, cookie);
    }
    ov.table.remember(node);
    if (ov.bare.ahead && !ov.bare.has(node)) ov.bare.look(node, isBare(ov, node));
    const { table } = ov;
    this.#put(table.inoLo(node), table.inoHi(node), cookie, dtype(table.mode(node)), name);
    return true;
  }

  #addBare(name: string, slot: number, cookie: number): true {
    this.#noEntry();
    this.#addAs(this.#listing.type(slot), name, slot, cookie);
    return true;
  }

  /** As the listing has it, its number looked up where that alone tells it. */
  #addListed(name: string, slot: number, cookie: number): void {
    const ov = this.#ov;
    const listing = this.#listing;
    const type = listing.type(slot);
    if (!listing.inoKnown(slot)) {
      const known = ov.live ? 0 : ov.table.byName(this.#node, name);
      if (known !== 0) {
        listing.setIno(slot, ov.table.inoLo(known), ov.table.inoHi(known));
      } else if (resolve(ov, this.#node, name) >= 0) {
        listing.setIno(slot, ov.hit.inoLo, ov.hit.inoHi);
      } else {
        this.#addAs(type, name, slot, cookie);
        return;
      }
    }
    // A regular file on disk may be shown as something else.
    this.#addAs(ov.overrides && type === DT_REG ? DT_UNKNOWN : type, name, slot, cookie);
  }

  #addAs(type: number, name: string, slot: number, cookie: number): void {
    const listing = this.#listing;
    const known = listing.inoKnown(slot);
    const lo = known ? listing.inoLo(slot) : UNKNOWN_INO;
    this.#put(lo, known ? listing.inoHi(slot) : 0, cookie, type, name);
  }

  /** Writes the struct fuse_dirent of the record. */
  #put(inoLo: number, inoHi: number, cookie: number, type: number, name: string): void {
    const { u32, u8 } = this.#ov.sys;
    const at = this.#plus ? this.at + DIRENTPLUS.dirent : this.at;
    const o = at >> 2;
    u32[o] = inoLo;
    u32[o + 1] = inoHi;
    u32[o + DIRENT.off / 4] = cookie >>> 0;
    u32[o + DIRENT.off / 4 + 1] = Math.floor(cookie / 0x1_0000_0000);
    u32[o + DIRENT.namelen / 4] = name.length;
    u32[o + DIRENT.type / 4] = type;
    this.#ov.sys.put(name, at + DIRENT.size);
    const from = at + DIRENT.size + name.length;
    u8.fill(0, from, (from + 7) & ~7);
  }
}
