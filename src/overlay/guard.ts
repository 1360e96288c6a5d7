/**
 * Files that chattr(1) made immutable or append-only. In a lower the flags are those of the file. In the
 * upper such flags would keep us from moving the file, so an xattr holds them there, `protattr`, and this
 * code enforces them (ovl_check_protattr, ovl_set_protattr in fs/overlayfs/util.c). It also enforces flags
 * that a file of the upper had before the mount. The checks are those that the VFS makes of S_APPEND and
 * S_IMMUTABLE in may_delete, notify_change, xattr_permission and inode_permission.
 */
import { E } from '../base/errno.js';
import { isDir, isReg } from '../base/mode.js';
import { noIoctl, noXattr } from '../layer/absence.js';
import {
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_LAYER,
} from '../sys/constants.js';
import type { Stat } from '../sys/stat.js';
import { SMALL, type Sys, XATTR } from '../sys/sys.js';
import { F_GUARDED, F_UNGUARDED, F_UPPER } from './inodes/record.js';
import type { Overlay } from './overlay.js';

/** Bits of an answer here. */
export const APPEND = 1;
export const IMMUTABLE = 2;

/** STATX_ATTR_* (statx(2)). */
const ATTR_IMMUTABLE = 0x10;
const ATTR_APPEND = 0x20;
/** FS_*_FL, and FS_XFLAG_* of struct fsxattr. */
export const FLAG_BITS = { append: 0x20, immutable: 0x10 };
export const XFLAG_BITS = { append: 0x10, immutable: 0x8 };
/** FS_SYNC_FL | FS_NOATIME_FL: the flags that a copy takes along (OVL_COPY_FS_FLAGS_MASK). */
export const COPIED_FLAGS = 0x8 | 0x80;
const FLAGS_SIZE = 8;

/** False when the file system says that nothing protects the object. */
export const mayBeGuarded = ({ attributes }: Stat): boolean =>
  (attributes & (ATTR_APPEND | ATTR_IMMUTABLE)) !== 0;

/** How a node is protected, or -errno: 0 for nearly all, by a look at the table alone once it is known. */
export function guardOf(ov: Overlay, node: number): number {
  const { table } = ov;
  if (table.has(node, F_UNGUARDED)) return 0;
  const known = table.has(node, F_GUARDED);
  // Of most objects, their lookup told that they have no flags of their own.
  const own = known ? ownFlags(ov, node) : 0;
  const mark = own >= 0 && table.has(node, F_UPPER) ? markOf(ov, node) : 0;
  if (own < 0 || mark < 0) return Math.min(own, mark);
  const guard = own | mark;
  table.clear(node, F_GUARDED);
  table.set(node, guard === 0 ? F_UNGUARDED : F_GUARDED);
  return guard;
}

/** -EPERM when one of `kinds` (APPEND | IMMUTABLE) protects the node, else 0; -errno. */
export function refused(ov: Overlay, node: number, kinds: number): number {
  const guard = guardOf(ov, node);
  if (guard < 0) return guard;
  return (guard & kinds) === 0 ? 0 : -E.EPERM;
}

/** A name is added to the directory, or (`leaves`) taken away with what it names. */
export function refusedIn(ov: Overlay, dir: number, leaves = 0): number {
  const code = refused(ov, dir, leaves === 0 ? IMMUTABLE : APPEND | IMMUTABLE);
  return code < 0 || leaves === 0 ? code : refused(ov, leaves, APPEND | IMMUTABLE);
}

/**
 * The flags of an object whose statx says that there are some: erofs says so of everything, and
 * has none (its inodes lack S_IMMUTABLE, so overlayfs changes them).
 */
function ownFlags(ov: Overlay, node: number): number {
  const { native } = ov.sys;
  const [dir, name] = objectOf(ov, node);
  const mode = ov.table.mode(node);
  if (dir < 0 || (!isDir(mode) && !isReg(mode))) return Math.min(dir, 0);
  const fd = ov.sys.open(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, RESOLVE_LAYER);
  if (fd < 0) return fd;
  const flags = flagsOf(ov.sys, fd);
  native.close(fd);
  return flags < 0 ? flags : guardIn(flags);
}

/** Of FS_*_FL, what protects. */
export const guardIn = (flags: number): number =>
  ((flags & FLAG_BITS.append) === 0 ? 0 : APPEND) |
  ((flags & FLAG_BITS.immutable) === 0 ? 0 : IMMUTABLE);

/** The node's object as xattr calls take it. */
function objectOf(ov: Overlay, node: number): [dir: number, name: string] {
  const asDir = isDir(ov.table.mode(node));
  return asDir ? [ov.realDirOf(node), '.'] : [ov.realDir(node), ov.realName(node)];
}

function markOf(ov: Overlay, node: number): number {
  const { sys } = ov;
  const mode = ov.table.mode(node);
  if (!isDir(mode) && !isReg(mode)) return 0;
  const [dir, name] = objectOf(ov, node);
  const value = dir < 0 ? dir : sys.xattr(dir, name, `${ov.markPrefix}protattr`);
  if (typeof value === 'number') return noXattr(value) ? 0 : value;
  return (value.includes('a') ? APPEND : 0) | (value.includes('i') ? IMMUTABLE : 0);
}

/** Writes the mark of an upper object, or takes it away. Returns 0 or -errno. */
export function writeMark(ov: Overlay, dir: number, name: string, guard: number): number {
  const { native } = ov.sys;
  const key = `${ov.markPrefix}protattr`;
  if (guard === 0) {
    const code = native.removexattr(dir, name, key);
    return noXattr(code) ? 0 : code;
  }
  const text = `${(guard & APPEND) === 0 ? '' : 'a'}${(guard & IMMUTABLE) === 0 ? '' : 'i'}`;
  return native.setxattr(dir, name, key, XATTR, ov.sys.put(text, XATTR), 0);
}

/** The same for a node, after SETFLAGS. */
export function setGuard(ov: Overlay, node: number, guard: number): number {
  const [dir, name] = objectOf(ov, node);
  const code = dir < 0 ? dir : writeMark(ov, dir, name, guard);
  if (code < 0) return code;
  ov.table.clear(node, F_GUARDED | F_UNGUARDED);
  ov.table.set(node, guard === 0 ? F_UNGUARDED : F_GUARDED);
  // The session must not write to a file that is immutable now.
  ov.dropFile(node);
  return 0;
}

/** FS_*_FL of an open file or directory; -errno. */
export function flagsOf(sys: Sys, fd: number): number {
  sys.u32.fill(0, SMALL >> 2, (SMALL + FLAGS_SIZE) >> 2);
  const code = sys.native.ioctl(fd, FS_IOC_GETFLAGS, SMALL);
  if (code < 0) return noIoctl(code) ? 0 : code;
  // The highest bit is reserved.
  return sys.u32[SMALL >> 2] & 0x7fff_ffff;
}

/** Gives an open copy those of a lower's flags that it takes along. 0 or -errno. */
export function addFlags(sys: Sys, fd: number, flags: number): number {
  const known = sys.native.ioctl(fd, FS_IOC_GETFLAGS, SMALL);
  if (known < 0) return noIoctl(known) ? 0 : known;
  sys.u32[SMALL >> 2] |= flags & COPIED_FLAGS;
  return Math.min(sys.native.ioctl(fd, FS_IOC_SETFLAGS, SMALL), 0);
}
