/** Copies what a copy-up keeps of the lower object besides its data. */
import { E } from '../../base/errno.js';
import { isDir, isLnk, isReg } from '../../base/mode.js';
import { noXattr, takesNoXattr } from '../../layer/absence.js';
import { encodeOrigin } from '../../layer/origin.js';
import { isFuseOverlayfsMark } from '../../layer/whiteout.js';
import { CAPABILITY, isPrivate, mustCopy } from '../../layer/xattrs.js';
import {
  AT_SYMLINK_NOFOLLOW,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_LAYER,
  UTIME_NOW,
  UTIME_OMIT,
} from '../../sys/constants.js';
import { XATTR, XATTR_LIST, XATTR_MAX } from '../../sys/sys.js';
import { METADATA, type Source } from './source.js';
import { setUnionMark, unionMark } from '../workdir/linkIndex.js';
import type { Overlay } from '../overlay.js';
import { addFlags, COPIED_FLAGS, flagsOf, guardIn, writeMark } from '../guard.js';
import { setTimes } from '../../sys/times.js';

/**
 * Owner, xattrs, mode and times, in the order in which none undoes another (chown drops
 * capabilities and set-id bits).
 */
export function decorate(
  ov: Overlay,
  node: number,
  from: Source,
  work: number,
  temp: string,
): number {
  const { native } = ov.sys;
  const { uid, gid, nlink } = from.stat;
  const { overrides } = ov;
  let code = overrides
    ? overrides.keep(work, temp, overrides.shown(from.stat))
    : native.fchownat(work, temp, uid, gid, AT_SYMLINK_NOFOLLOW);
  if (code >= 0) code = copyXattrs(ov, node, from, work, temp);
  if (code >= 0) code = keepFlags(ov, from, work, temp);
  if (code >= 0 && !from.parts) code = writeOrigin(ov, node, from, work, temp);
  if (code >= 0 && from.entry !== '') {
    code = setUnionMark(ov.sys, work, temp, unionMark('U', nlink, 1));
  }
  if (code >= 0 && from.limit === METADATA) {
    code = native.setxattr(work, temp, `${ov.markPrefix}metacopy`, XATTR, 0, 0);
  }
  if (code >= 0 && !isLnk(from.mode) && !overrides) {
    code = native.fchmodat(work, temp, from.mode & 0o7777);
  }
  if (code >= 0) code = setTimes(ov.sys, from.stat, work, temp, AT_SYMLINK_NOFOLLOW);
  return code >= 0 && from.cuts ? touch(ov, work, temp) : code;
}

/** A truncation is a change of data, whose time is now; with the writeback cache the kernel says which it is. */
export function touch(ov: Overlay, dir: number, name: string): number {
  if (ov.times) return 0;
  const now = [0, UTIME_OMIT, 0, UTIME_NOW] as const;
  return ov.sys.native.utimensat(dir, name, ...now, AT_SYMLINK_NOFOLLOW);
}

function copyXattrs(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { sys } = ov;
  const { native } = sys;
  const bytes = native.listxattr(from.dir, from.name, XATTR_LIST, XATTR_MAX);
  if (bytes <= 0) return noXattr(bytes) ? 0 : bytes;
  for (const key of sys.text(XATTR_LIST, bytes - 1).split('\0')) {
    const stays = isPrivate(key, ov.markPrefix) || isFuseOverlayfsMark(key);
    const copied = stays ? undefined : nameOfCopy(ov, node, key);
    // A truncation takes the capabilities away (file_remove_privs).
    if (copied === undefined || ((from.cuts || from.adopted) && key === CAPABILITY)) continue;
    const size = native.getxattr(from.dir, from.name, key, XATTR, XATTR_MAX);
    if (noXattr(size)) continue; // listed, but not ours to read (security modules)
    if (key === CAPABILITY && size === -E.EINVAL) continue; // gives none (ovl_no_fscap)
    let code = size < 0 ? size : toUpperIds(ov, node, key, size);
    if (code >= 0) code = native.setxattr(work, temp, copied, XATTR, size, 0);
    if (code >= 0 || (code === -E.EOPNOTSUPP && !mustCopy(key))) continue;
    return code;
  }
  return 0;
}

/** The value at XATTR is as the upper is to have it: 0, or -errno where that has no such ID. */
function toUpperIds(ov: Overlay, node: number, key: string, size: number): number {
  const mapped = ov.ids && ov.idmapped.has(ov.objectLayer(node));
  return mapped ? ov.ids.diskXattr(ov.sys, key, XATTR, size) : 0;
}

/** What a lower's xattr is called in the upper; undefined for one that stays below. */
function nameOfCopy(ov: Overlay, node: number, key: string): string | undefined {
  const { overrides } = ov;
  if (!overrides) return key;
  // An ACL would act on the disk's modes, and is not shown.
  if (key.startsWith('system.posix_acl_')) return undefined;
  const shown = overrides.toClient(ov.objectLayer(node), key);
  const stored = shown === undefined ? undefined : overrides.toDisk(ov.upper?.id ?? 0, shown);
  return typeof stored === 'string' ? stored : undefined;
}

/** The flags of chattr(1) (ovl_copy_fileattr). */
function keepFlags(ov: Overlay, from: Source, work: number, temp: string): number {
  if (!isReg(from.mode) && !isDir(from.mode)) return 0;
  const { sys } = ov;
  const how = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
  const source = sys.open(from.dir, from.name, how, 0, RESOLVE_LAYER);
  // Its metadata can be copied without the right to read it.
  if (source < 0) return source === -E.EACCES ? 0 : source;
  const flags = flagsOf(sys, source);
  sys.native.close(source);
  if (flags <= 0) return flags;
  const guard = guardIn(flags);
  const marked = guard === 0 ? 0 : writeMark(ov, work, temp, guard);
  if (marked < 0 || (flags & COPIED_FLAGS) === 0) return marked;
  const to = sys.open(work, temp, how, 0, RESOLVE_LAYER);
  if (to < 0) return to;
  const code = addFlags(sys, to, flags);
  sys.native.close(to);
  return code;
}

function writeOrigin(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { sys } = ov;
  const length = encodeOrigin(sys, ov.layer(ov.objectLayer(node)), from.dir, from.name);
  if (length <= 0) return length;
  const code = sys.native.setxattr(work, temp, `${ov.markPrefix}origin`, XATTR, length, 0);
  // user.* xattrs do not exist on symlinks and devices: such a copy has no origin.
  return takesNoXattr(code) ? 0 : code;
}
