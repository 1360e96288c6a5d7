/** Requests about one node: attributes, xattrs, data, ioctl. */
import { E } from '../base/errno.js';
import { CAPABILITY } from '../layer/xattrs.js';
import { type AttrChange, setattr } from '../overlay/access/attr.js';
import { afterChange } from '../overlay/answer.js';
import { NO_ID } from '../overlay/shown/ids.js';
import * as io from '../overlay/access/io.js';
import { readsOldData } from '../overlay/access/passthrough.js';
import type { Offset, Span } from '../overlay/access/span.js';
import * as xattrs from '../overlay/access/xattr.js';
import { Fattr, FSYNC_FDATASYNC, WRITE_CACHE, WRITE_KILL_SUIDGID } from '../protocol/flags.js';
import {
  COMPAT_SETXATTR_IN_SIZE,
  COPY_FILE_RANGE_IN,
  FALLOCATE_IN,
  FSYNC_IN,
  GETXATTR_IN,
  IN_HEADER,
  IOCTL_IN,
  IOCTL_OUT,
  KSTATFS,
  LSEEK_IN,
  READ_IN,
  SETATTR_IN,
  SETXATTR_IN,
  STATX_IN,
  WRITE_IN,
} from '../protocol/layout.js';
import {
  FS_IOC_FSGETXATTR,
  FS_IOC_FSSETXATTR,
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  STATX_BASIC_STATS,
  STATX_BTIME,
} from '../sys/constants.js';
import { IN, MAX_IO } from '../sys/memory.js';
import { SMALL, XATTR_MAX } from '../sys/sys.js';
import { encodeAttrOut, encodeStatxOut } from './encode.js';
import { BODY, nameAt, REPLY, type Served, word } from './served.js';
import { invalidateAttributes } from './notify.js';
import { tidyLater } from './tidy.js';

function attrs(s: Served, node: number): number {
  const { reply } = s.ov.sys.stats;
  const code = s.ov.stat(node, reply);
  return code < 0 ? code : encodeAttrOut(s.ov, node, reply, REPLY);
}

export const onGetattr = attrs;

export function onStatx(s: Served, node: number): number {
  const mask = (word(s, STATX_IN.sx_mask) | STATX_BASIC_STATS) & (STATX_BASIC_STATS | STATX_BTIME);
  const { reply } = s.ov.sys.stats;
  const code = s.ov.stat(node, reply, mask);
  return code < 0 ? code : encodeStatxOut(s.ov, node, reply, REPLY);
}

export function onSetattr(s: Served, node: number): number {
  const { view } = s.ov.sys;
  const seconds = (offset: number): number => Number(view.getBigInt64(BODY + offset, true));
  const valid = word(s, SETATTR_IN.valid);
  const mtime = seconds(SETATTR_IN.mtime);
  const mtimeNsec = word(s, SETATTR_IN.mtimensec);
  const now = seconds(SETATTR_IN.ctime) === mtime && word(s, SETATTR_IN.ctimensec) === mtimeNsec;
  const change: AttrChange = {
    valid,
    sizeLo: word(s, SETATTR_IN.size_),
    sizeHi: word(s, SETATTR_IN.size_ + 4),
    atime: seconds(SETATTR_IN.atime),
    atimeNsec: word(s, SETATTR_IN.atimensec),
    mtime,
    mtimeNsec,
    touched: now && (valid & Fattr.CTIME) !== 0,
    mode: word(s, SETATTR_IN.mode),
    uid: word(s, SETATTR_IN.uid),
    gid: word(s, SETATTR_IN.gid),
    caller: s.caller,
    uncapped: s.uncapped === node,
  };
  if (!ownersToDisk(s, change)) return -E.EOVERFLOW;
  const code = setattr(s.ov, node, change);
  if (code < 0) return code;
  const { reply } = s.ov.sys.stats;
  afterChange(s.ov, node, reply);
  return encodeAttrOut(s.ov, node, reply, REPLY);
}

/** False for a new owner that does not exist on disk: chown(2) would take NO_ID for "leave it". */
function ownersToDisk({ ov: { ids } }: Served, change: AttrChange): boolean {
  if (ids && (change.valid & Fattr.UID) !== 0) change.uid = ids.diskUid(change.uid);
  if (ids && (change.valid & Fattr.GID) !== 0) change.gid = ids.diskGid(change.gid);
  const bad = (bit: number, id: number): boolean => (change.valid & bit) !== 0 && id === NO_ID;
  return !bad(Fattr.UID, change.uid) && !bad(Fattr.GID, change.gid);
}

export function onReadlink(s: Served, node: number): number {
  const { ov } = s;
  const dir = ov.realDir(node);
  if (dir < 0) return dir;
  return ov.sys.native.readlinkat(dir, ov.realName(node), REPLY, MAX_IO);
}

/** One for all READs and WRITEs of a thread, which come one after the other. */
const SPAN = { at: 0, size: 0, lo: 0, hi: 0 };

/** `size` bytes at `at`, which belong where the u64 at `offset` of the request says. */
function spanOf(s: Served, at: number, size: number, offset: number): Span {
  SPAN.at = at;
  SPAN.size = size;
  SPAN.lo = word(s, offset);
  SPAN.hi = word(s, offset + 4);
  return SPAN;
}

export function onRead(s: Served, node: number): number {
  const size = Math.min(word(s, READ_IN.size_), MAX_IO);
  return io.read(s.ov, node, spanOf(s, REPLY, size, READ_IN.offset));
}

export function onWrite(s: Served, node: number): number {
  const size = Math.min(word(s, WRITE_IN.size_), MAX_IO);
  const kills = (word(s, WRITE_IN.write_flags) & WRITE_KILL_SUIDGID) !== 0;
  const kill = kills ? s.caller : undefined;
  const cached = (word(s, WRITE_IN.write_flags) & WRITE_CACHE) !== 0;
  const span = spanOf(s, BODY + WRITE_IN.size, size, WRITE_IN.offset);
  const written = io.write(s.ov, node, span, kill, cached);
  return written < 0 ? written : reply32(s, written);
}

/** A reply of one u32 and its padding. */
function reply32(s: Served, value: number): number {
  const { u32 } = s.ov.sys;
  u32[REPLY >> 2] = value;
  u32[(REPLY >> 2) + 1] = 0;
  return 8;
}

export function onStatfs(s: Served): number {
  const code = io.statfs(s.ov, SMALL);
  if (code < 0) return code;
  const { u32 } = s.ov.sys;
  const o = REPLY >> 2;
  u32.fill(0, o, o + KSTATFS.size / 4);
  // struct statfs: type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize (8 bytes each)
  const f = SMALL >> 2;
  for (let i = 0; i < 10; i++) u32[o + i] = u32[f + 4 + i];
  u32[o + KSTATFS.bsize / 4] = u32[f + 2];
  u32[o + KSTATFS.namelen / 4] = u32[f + 16];
  u32[o + KSTATFS.frsize / 4] = u32[f + 18];
  return KSTATFS.size;
}

export function onFsync(s: Served, node: number): number {
  // Without durability the kernel need not ask again (it takes ENOSYS for success).
  if (!s.ov.durable) return -E.ENOSYS;
  return io.fsync(s.ov, node, (word(s, FSYNC_IN.fsync_flags) & FSYNC_FDATASYNC) !== 0);
}

export function onSetxattr(s: Served, node: number): number {
  const header = s.setxattrExt ? SETXATTR_IN.size : COMPAT_SETXATTR_IN_SIZE;
  const size = word(s, SETXATTR_IN.size_);
  const ext = s.setxattrExt ? word(s, SETXATTR_IN.setxattr_flags) : 0;
  const key = nameAt(s, header);
  const at = BODY + header + key.length + 1;
  if (size > XATTR_MAX) return -E.E2BIG;
  return xattrs.setxattr(s.ov, node, { key, at, size, flags: word(s, SETXATTR_IN.flags), ext });
}

export function onGetxattr(s: Served, node: number): number {
  const size = Math.min(word(s, GETXATTR_IN.size_), XATTR_MAX);
  const key = nameAt(s, GETXATTR_IN.size);
  // Each notify_change that may take it away asks for it first (security_inode_need_killpriv).
  if (s.ov.bare.none) return -E.ENOSYS;
  if (key === CAPABILITY && s.uncapped === node) s.ov.bare.except = s.uncapped = 0;
  const length = xattrs.getxattr(s.ov, node, key, REPLY, size);
  if (key === CAPABILITY && length === -E.ENODATA) questioned(s, node);
  return length < 0 || size !== 0 ? length : reply32(s, length);
}

/** Nearly every object that has no capabilities has no xattr at all, which is asked for next. */
function questioned({ ov }: Served, node: number): void {
  ov.bare.count();
  if (ov.bare.walked && xattrs.isBare(ov, node)) ov.bare.add(node);
}

export function onListxattr(s: Served, node: number): number {
  if (s.ov.bare.none) return -E.ENOSYS;
  const size = word(s, GETXATTR_IN.size_);
  const list = xattrs.listxattr(s.ov, node, s.caller);
  if (typeof list === 'number') return list;
  if (size === 0) return reply32(s, list.length);
  return list.length > size ? -E.ERANGE : s.ov.sys.put(list, REPLY);
}

export function onRemovexattr(s: Served, node: number): number {
  const key = nameAt(s, 0);
  const code = xattrs.removexattr(s.ov, node, key, s.caller);
  if (code >= 0 && key === CAPABILITY) s.ov.bare.except = s.uncapped = node;
  return code;
}

export function onFallocate(s: Served, node: number): number {
  const pair = (at: number): Offset => [word(s, at), word(s, at + 4)];
  const mode = word(s, FALLOCATE_IN.mode);
  const range = { off: pair(FALLOCATE_IN.offset), length: pair(FALLOCATE_IN.length) };
  const code = io.fallocate(s.ov, node, mode, range, s.caller);
  return Math.min(code, 0);
}

/**
 * Holes, and copies from one file to another, are looked for in the node's data. Who reads other
 * data is told that they are not supported, and reads (EINVAL for SEEK_HOLE is what tools expect).
 */
export function onLseek(s: Served, opened: number): number {
  if (readsOldData(s.ov, opened)) return -E.EINVAL;
  const node = s.ov.table.current(opened);
  const off: Offset = [word(s, LSEEK_IN.offset), word(s, LSEEK_IN.offset + 4)];
  const code = io.lseek(s.ov, node, off, word(s, LSEEK_IN.whence), REPLY);
  return code < 0 ? code : 8;
}

export function onCopyFileRange(s: Served, node: number): number {
  const copied = copyRange(s, node);
  return copied < 0 ? copied : reply32(s, copied);
}

/** The form of 7.45: the count has 64 bits. */
export const onCopyFileRange64 = onCopyFileRange;

function copyRange(s: Served, node: number): number {
  const pair = (at: number): Offset => [word(s, at), word(s, at + 4)];
  const [lo, hi] = pair(COPY_FILE_RANGE_IN.len);
  if (!s.ov.table.exists(word(s, COPY_FILE_RANGE_IN.nodeid_out))) return -E.ESTALE;
  if (readsOldData(s.ov, node)) return -E.EOPNOTSUPP;
  const { table } = s.ov;
  const to = table.current(word(s, COPY_FILE_RANGE_IN.nodeid_out));
  return io.copyFileRange(
    s.ov,
    { node: table.current(node), off: pair(COPY_FILE_RANGE_IN.off_in) },
    { node: to, off: pair(COPY_FILE_RANGE_IN.off_out) },
    lo + hi * 0x1_0000_0000,
    s.caller,
  );
}

/** What overlayfs answers: inode flags and project attributes, of the real object (ovl_fileattr_get/set). */
const IOCTLS = new Map<number, { readonly size: number; readonly changes: boolean }>([
  [FS_IOC_GETFLAGS, { size: 4, changes: false }],
  [FS_IOC_SETFLAGS, { size: 4, changes: true }],
  [FS_IOC_FSGETXATTR, { size: 28, changes: false }],
  [FS_IOC_FSSETXATTR, { size: 28, changes: true }],
]);

export function onIoctl(s: Served, node: number): number {
  const { u8 } = s.ov.sys;
  const command = word(s, IOCTL_IN.cmd);
  const known = IOCTLS.get(command);
  if (!known) return -E.ENOTTY;
  const room = word(s, IOCTL_IN.out_size);
  const given = Math.min(word(s, IOCTL_IN.in_size), known.size);
  // The argument lies where its answer goes: a copy-up in between uses the scratch memory.
  const argument = REPLY + IOCTL_OUT.size;
  u8.fill(0, REPLY, argument + IOCTL_MAX);
  u8.copyWithin(argument, BODY + IOCTL_IN.size, BODY + IOCTL_IN.size + given);
  const code = known.changes
    ? io.setFlags(s.ov, node, command, argument)
    : io.getFlags(s.ov, node, command, argument);
  if (code < 0) return code;
  // The kernel knows of no new ctime. Of a file in the writeback cache it shows its own, until it forgets the file.
  if (known.changes) invalidateAttributes(s.ov.sys, s.slot, node);
  return IOCTL_OUT.size + (known.changes ? 0 : Math.min(room, known.size));
}

/** More than any argument here. */
const IOCTL_MAX = 64;

/** Lookups given back: one node, or many. */
export function onForget(s: Served, node: number): number {
  s.ov.table.forget(node, word(s, 0), word(s, 4), s.ov.dropped);
  tidyLater(s);
  return 0;
}

export function onBatchForget(s: Served): number {
  const { u32 } = s.ov.sys;
  const count = word(s, 0);
  for (let i = 0, at = (IN + IN_HEADER.size + 8) >> 2; i < count; i++, at += 4) {
    s.ov.table.forget(u32[at], u32[at + 2], u32[at + 3], s.ov.dropped);
  }
  tidyLater(s);
  return 0;
}
