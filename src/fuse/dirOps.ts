/** READDIR and READDIRPLUS: the merged listing in cookie order. */
import { COOKIE_DOT, COOKIE_DOTDOT } from '../base/hash.js';
import { DT_DIR, DT_REG, DT_UNKNOWN, dtype } from '../base/mode.js';
import type { DirListing } from '../overlay/listing/dirListing.js';
import { Found } from '../overlay/hit.js';
import { nodeOfHit, parentOf, resolve } from '../overlay/lookup/lookup.js';
import { dirListingOf } from '../overlay/lookup/readdir.js';
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
  const end = REPLY + Math.min(word(s, READ_IN.size_), MAX_IO);
  let at = REPLY;
  if (cookie < COOKIE_DOT) at = addDot(s, node, '.', COOKIE_DOT, at, end, plus);
  if (cookie < COOKIE_DOTDOT) {
    at = addDot(s, parentOf(s.ov, node), '..', COOKIE_DOTDOT, at, end, plus);
  }
  const { positions } = listing;
  for (let i = listing.after(cookie); i < positions; i++) {
    const slot = listing.slotAt(i);
    if (slot === undefined) continue;
    const name = listing.nameAt(i);
    const size = recordSize(name, plus);
    if (at + size > end) break;
    let added: boolean;
    if (!plus) {
      added = addPlain(s, node, name, listing, slot, listing.cookie(i), at);
    } else if (listing.size <= PLUS_MAX && !s.ov.live) {
      added = addPlus(s, node, name, listing, slot, listing.cookie(i), at);
    } else {
      s.ov.sys.u32.fill(0, at >> 2, (at + ENTRY_OUT.size) >> 2);
      added = addPlain(s, node, name, listing, slot, listing.cookie(i), at + DIRENTPLUS.dirent);
    }
    if (added) at += size;
  }
  return at - REPLY;
}

const recordSize = (name: string, plus: boolean): number =>
  ((plus ? DIRENTPLUS.size : DIRENT.size) + name.length + 7) & ~7;

/** "." or "..", which carry no lookup. */
function addDot(
  s: Served,
  node: number,
  name: string,
  cookie: number,
  at: number,
  end: number,
  plus: boolean,
): number {
  const size = recordSize(name, plus);
  if (at + size > end) return at;
  const { u32 } = s.ov.sys;
  if (plus) u32.fill(0, at >> 2, (at + ENTRY_OUT.size) >> 2);
  const { table } = s.ov;
  const dirent = plus ? at + DIRENTPLUS.dirent : at;
  writeDirent(s, dirent, table.inoLo(node), table.inoHi(node), cookie, DT_DIR, name);
  return at + size;
}

/** False when the entry vanished: it is left out. */
function addPlus(
  s: Served,
  parent: number,
  name: string,
  listing: DirListing,
  slot: number,
  cookie: number,
  at: number,
): boolean {
  const { ov } = s;
  // An entry that cannot be looked up is still an entry: whoever stats it gets the error.
  const bare = (): boolean => addUnknown(s, name, listing, slot, cookie, at);
  let node = ov.table.byName(parent, name);
  let stat = ov.sys.stats.reply;
  if (node !== 0) {
    if (ov.stat(node, stat) < 0) return bare();
  } else {
    if (resolve(ov, parent, name) < 0) return bare();
    if (ov.hit.found === Found.None || ov.hit.found === Found.UpperWhiteout) return false;
    node = nodeOfHit(ov, parent, name);
    stat = ov.hit.stat;
    if (ov.complete(node, stat) < 0) {
      ov.table.release(node, ov.dropped);
      return bare();
    }
  }
  if (encodeEntry(ov, node, stat, at) < 0) {
    ov.table.release(node, ov.dropped);
    return bare();
  }
  ov.table.remember(node);
  const type = dtype(ov.table.mode(node));
  const { table } = ov;
  const dirent = at + DIRENTPLUS.dirent;
  writeDirent(s, dirent, table.inoLo(node), table.inoHi(node), cookie, type, name);
  return true;
}

/** A READDIRPLUS record without attributes. */
function addUnknown(
  s: Served,
  name: string,
  listing: DirListing,
  slot: number,
  cookie: number,
  at: number,
): boolean {
  s.ov.sys.u32.fill(0, at >> 2, (at + ENTRY_OUT.size) >> 2);
  const dirent = at + DIRENTPLUS.dirent;
  const known = listing.inoKnown(slot);
  const lo = known ? listing.inoLo(slot) : UNKNOWN_INO;
  writeDirent(s, dirent, lo, known ? listing.inoHi(slot) : 0, cookie, listing.type(slot), name);
  return true;
}

function addPlain(
  s: Served,
  parent: number,
  name: string,
  listing: DirListing,
  slot: number,
  cookie: number,
  at: number,
): boolean {
  if (!listing.inoKnown(slot)) {
    const known = s.ov.live ? 0 : s.ov.table.byName(parent, name);
    if (known !== 0) {
      const { table } = s.ov;
      listing.setIno(slot, table.inoLo(known), table.inoHi(known));
    } else {
      if (resolve(s.ov, parent, name) < 0) {
        writeDirent(s, at, UNKNOWN_INO, 0, cookie, listing.type(slot), name);
        return true;
      }
      const { inoLo, inoHi } = s.ov.hit;
      listing.setIno(slot, inoLo, inoHi);
    }
  }
  // A regular file on disk may be shown as something else.
  const known = s.ov.overrides && listing.type(slot) === DT_REG ? DT_UNKNOWN : listing.type(slot);
  writeDirent(s, at, listing.inoLo(slot), listing.inoHi(slot), cookie, known, name);
  return true;
}

function writeDirent(
  s: Served,
  at: number,
  inoLo: number,
  inoHi: number,
  cookie: number,
  type: number,
  name: string,
): void {
  const { u32, u8 } = s.ov.sys;
  const o = at >> 2;
  u32[o] = inoLo;
  u32[o + 1] = inoHi;
  u32[o + DIRENT.off / 4] = cookie >>> 0;
  u32[o + DIRENT.off / 4 + 1] = Math.floor(cookie / 0x1_0000_0000);
  u32[o + DIRENT.namelen / 4] = name.length;
  u32[o + DIRENT.type / 4] = type;
  s.ov.sys.put(name, at + DIRENT.size);
  const from = at + DIRENT.size + name.length;
  u8.fill(0, from, (from + 7) & ~7);
}
