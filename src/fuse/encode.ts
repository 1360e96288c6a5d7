/**
 * Encodes the attribute structs of replies. They are filled from a struct statx by copying words: no 64-bit
 * value becomes a JavaScript number.
 */
import { isDir, isReg, S_ISGID, S_ISUID } from '../base/mode.js';
import { F_ASK } from '../overlay/inodes/record.js';
import type { Overlay } from '../overlay/overlay.js';
import { shownNlink } from '../overlay/access/attr.js';
import { adopts, isForeign } from '../overlay/lookup/foreign.js';
import { NO_ID } from '../overlay/shown/ids.js';
import { ATTR, ATTR_OUT, ENTRY_OUT, STATX, STATX_OUT } from '../protocol/layout.js';
import type { Stat } from '../sys/stat.js';

/**
 * Seconds that names and attributes stay valid: practically for ever, since nothing changes
 * behind the mount's back.
 */
const FOREVER = 0x7fff_ffff;

/** The same where another mount changes the upper. */
const BRIEFLY = 1;

const validity = (ov: Overlay): number => (ov.live ? BRIEFLY : FOREVER);

/** How long attributes of the node stay valid: not at all where they change without a request. */
function attrValidity(ov: Overlay, node: number): number {
  const asks = ov.uncertain || ov.table.has(node, F_ASK);
  ov.uncertain = false;
  ov.changed = false;
  return asks ? 0 : validity(ov);
}

/** fuse_attr at `out` of `node`. Returns 0 or -errno. */
function encodeAttr(ov: Overlay, node: number, stat: Stat, out: number): number {
  const { u32 } = ov.sys;
  const s = stat.at >> 2;
  const o = out >> 2;
  u32[o + ATTR.ino / 4] = ov.table.inoLo(node);
  u32[o + ATTR.ino / 4 + 1] = ov.table.inoHi(node);
  for (let i = 0; i < 4; i++) u32[o + ATTR.size_ / 4 + i] = u32[s + STATX.size_ / 4 + i]; // size, blocks
  neverNoBlocks(ov, node, o + ATTR.blocks / 4);
  copyTime(u32, s + STATX.atime / 4, o + ATTR.atime / 4, o + ATTR.atimensec / 4);
  copyTime(u32, s + STATX.mtime / 4, o + ATTR.mtime / 4, o + ATTR.mtimensec / 4);
  copyTime(u32, s + STATX.ctime / 4, o + ATTR.ctime / 4, o + ATTR.ctimensec / 4);
  u32[o + ATTR.mode / 4] = stat.mode;
  let nlink = shownNlink(ov, node, stat);
  if (nlink < 0) {
    if (!ov.changed) return nlink;
    ov.uncertain = true;
    nlink = stat.nlink;
  }
  u32[o + ATTR.nlink / 4] = nlink;
  u32[o + ATTR.uid / 4] = stat.uid;
  u32[o + ATTR.gid / 4] = stat.gid;
  if (ov.translates) {
    const told = translateOwner(ov, node, stat, o + ATTR.uid / 4, o + ATTR.gid / 4);
    if (told < 0 && !ov.changed) return told;
    if (told < 0) ov.uncertain = true;
    if (told > 0) u32[o + ATTR.mode / 4] &= ~(S_ISUID | S_ISGID);
  }
  u32[o + ATTR.rdev / 4] = encodeDev(stat.rdevMajor, stat.rdevMinor);
  u32[o + ATTR.blksize / 4] = stat.blksize;
  u32[o + ATTR.flags / 4] = 0;
  return 0;
}

/**
 * A regular file has a block at least where the kernel may hold pages of it that are not written yet. The
 * kernel does not count them, nor ask again before the file is closed, and GNU tar -S takes a file
 * without blocks for one hole (sparse_scan_file_wholesparse).
 */
function neverNoBlocks(ov: Overlay, node: number, at: number): void {
  const { u32 } = ov.sys;
  if (!ov.flushes.flush || u32[at] !== 0 || u32[at + 1] !== 0) return;
  if (isReg(ov.table.mode(node))) u32[at] = 1;
}

/**
 * Replaces the IDs on disk, at two words of a reply, by those a client sees. Returns 0, 1 when
 * the object has no set-ID bits for a client, or -errno.
 */
function translateOwner(ov: Overlay, node: number, stat: Stat, uid: number, gid: number): number {
  const { ids, overflow, sys } = ov;
  const { u32 } = sys;
  const foreign = overflow ? isForeign(ov, node, stat) : 0;
  if (foreign < 0) return foreign;
  const adopted = foreign > 0 && adopts(ov);
  if (overflow && foreign > 0 && !adopted) {
    if (u32[uid] === overflow.uid) u32[uid] = NO_ID;
    if (u32[gid] === overflow.gid) u32[gid] = NO_ID;
  }
  if (ids) {
    u32[uid] = ids.shownUid(u32[uid]);
    u32[gid] = ids.shownGid(u32[gid]);
  }
  return adopted && !isDir(stat.mode) ? 1 : 0;
}

function copyTime(u32: Uint32Array, from: number, sec: number, nsec: number): void {
  u32[sec] = u32[from];
  u32[sec + 1] = u32[from + 1];
  u32[nsec] = u32[from + 2];
}

/** new_encode_dev of the kernel: 12 bits of major, 20 of minor. */
const encodeDev = (major: number, minor: number): number =>
  ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;

export const devMajor = (dev: number): number => (dev >>> 8) & 0xfff;
export const devMinor = (dev: number): number => (dev & 0xff) | ((dev >>> 12) & 0xfff00);

/** fuse_attr_out at `out`; returns its size or -errno. */
export function encodeAttrOut(ov: Overlay, node: number, stat: Stat, out: number): number {
  const { u32 } = ov.sys;
  const o = out >> 2;
  const code = encodeAttr(ov, node, stat, out + ATTR_OUT.attr);
  u32[o] = attrValidity(ov, node);
  u32[o + 1] = 0;
  u32[o + 2] = 0;
  u32[o + 3] = 0;
  return code < 0 ? code : ATTR_OUT.size;
}

/** fuse_entry_out at `out`; returns its size or -errno. */
export function encodeEntry(ov: Overlay, node: number, stat: Stat, out: number): number {
  const { u32 } = ov.sys;
  const o = out >> 2;
  u32[o] = node;
  u32[o + 1] = 0;
  u32[o + ENTRY_OUT.generation / 4] = ov.table.generation(node);
  u32[o + ENTRY_OUT.generation / 4 + 1] = 0;
  const code = encodeAttr(ov, node, stat, out + ENTRY_OUT.attr);
  fillValidity(u32, o, validity(ov), attrValidity(ov, node));
  return code < 0 ? code : ENTRY_OUT.size;
}

/** A fuse_entry_out without a node: the name does not exist, and the kernel may remember that. */
export function encodeNegative(ov: Overlay, out: number): number {
  const { u32 } = ov.sys;
  u32.fill(0, out >> 2, (out + ENTRY_OUT.size) >> 2);
  fillValidity(u32, out >> 2, validity(ov), 0);
  return ENTRY_OUT.size;
}

function fillValidity(u32: Uint32Array, o: number, entry: number, attr: number): void {
  u32[o + ENTRY_OUT.entry_valid / 4] = entry;
  u32[o + ENTRY_OUT.entry_valid / 4 + 1] = 0;
  u32[o + ENTRY_OUT.attr_valid / 4] = attr;
  u32[o + ENTRY_OUT.attr_valid / 4 + 1] = 0;
  u32[o + ENTRY_OUT.entry_valid_nsec / 4] = 0;
  u32[o + ENTRY_OUT.attr_valid_nsec / 4] = 0;
}

/** fuse_statx_out at `out` (its size, or -errno): fuse_statx is struct statx up to dev_minor, the rest is spare. */
export function encodeStatxOut(ov: Overlay, node: number, stat: Stat, out: number): number {
  const { u32, u16, u8 } = ov.sys;
  u32.fill(0, out >> 2, (out + STATX_OUT.size) >> 2);
  u32[out >> 2] = attrValidity(ov, node);
  const body = out + STATX_OUT.stat;
  u8.copyWithin(body, stat.at, stat.at + STATX.dev_minor + 4);
  const o = body >> 2;
  u32[o + STATX.ino / 4] = ov.table.inoLo(node);
  u32[o + STATX.ino / 4 + 1] = ov.table.inoHi(node);
  const nlink = shownNlink(ov, node, stat);
  if (nlink < 0) return nlink;
  u32[o + STATX.nlink / 4] = nlink;
  neverNoBlocks(ov, node, o + STATX.blocks / 4);
  const told = ov.translates
    ? translateOwner(ov, node, stat, o + STATX.uid / 4, o + STATX.gid / 4)
    : 0;
  if (told > 0) u16[(body + STATX.mode) >> 1] &= ~(S_ISUID | S_ISGID);
  return told < 0 ? told : STATX_OUT.size;
}
