/**
 * Whiteouts and opaque directories, in every format there is; the only file that names one.
 *
 * Read: 0:0 character devices; `overlay.opaque` = `y` in the trusted and the user namespace;
 * xwhiteouts (an empty regular file with `overlay.whiteout`, in a directory whose `overlay.opaque`
 * is `x`); in lower layers also AUFS/OCI `.wh.NAME` and `.wh..wh..opq`, which containers/storage
 * writes when a mount program is configured. Written: 0:0 devices and `opaque` = `y`.
 * (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".)
 */
import { isChr, isReg, S_IFCHR } from '../base/mode.js';
import { STATX } from '../protocol/layout.js';
import { AT_SYMLINK_NOFOLLOW, STATX_TYPE } from '../sys/constants.js';
import { STAT_C, type Sys } from '../sys/sys.js';
import { noXattr, TRUSTED, USER } from './xattrs.js';

export const WH_PREFIX = '.wh.';
const WH_OPAQUE = '.wh..wh..opq';
/** A `.wh.` file can hide names up to this length. */
const WH_NAME_MAX = 255 - WH_PREFIX.length;

/** What the marks of one directory in one layer say. */
export interface DirMarks {
  /** Nothing below shows through. */
  readonly opaque: boolean;
  /** Empty regular files in it may be xwhiteouts. */
  readonly xwhiteouts: boolean;
}

const PLAIN: DirMarks = { opaque: false, xwhiteouts: false };
const OPAQUE: DirMarks = { opaque: true, xwhiteouts: false };
const XWHITEOUTS: DirMarks = { opaque: false, xwhiteouts: true };

/** True when the statx at `at` shows a 0:0 device. */
export function isDeviceWhiteout(sys: Sys, at: number): boolean {
  return isChr(sys.statMode(at)) && sys.statIsZeroDev(at);
}

/** True when the regular file is an xwhiteout; ask only in a directory with that mark. */
export function isXWhiteout(sys: Sys, dirfd: number, name: string, at: number): boolean {
  if (!isReg(sys.statMode(at)) || sys.u64(at + STATX.size_) !== 0) return false;
  return (
    sys.native.getxattr(dirfd, name, `${TRUSTED}whiteout`, 0, 0) >= 0 ||
    sys.native.getxattr(dirfd, name, `${USER}whiteout`, 0, 0) >= 0
  );
}

/** True when `.wh.NAME` stands beside `name` in a lower's directory. */
export function hasDotWhiteout(sys: Sys, dirfd: number, name: string): boolean {
  if (name.length > WH_NAME_MAX) return false;
  const file = WH_PREFIX + name;
  return sys.native.statx(dirfd, file, AT_SYMLINK_NOFOLLOW, STATX_TYPE, STAT_C) === 0;
}

/** True for names that are marks in a lower layer and never entries. */
export const isDotMark = (name: string): boolean => name.startsWith(WH_PREFIX);

/** The name a `.wh.` file hides; undefined for AUFS's own files (`.wh..wh.…`). */
export function dotHidden(name: string): string | undefined {
  const hidden = name.slice(WH_PREFIX.length);
  return hidden === '' || hidden.startsWith(WH_PREFIX) ? undefined : hidden;
}

/** Reads the marks of directory `name` (".": `dirfd` itself); `dotForms` for lower layers. An errno (negative) when the marks cannot be read. */
export function dirMarks(
  sys: Sys,
  dirfd: number,
  name: string,
  dotForms: boolean,
): DirMarks | number {
  for (const prefix of [TRUSTED, USER]) {
    const value = sys.xattr(dirfd, name, `${prefix}opaque`);
    if (typeof value === 'string') {
      if (value === 'y') return OPAQUE;
      if (value === 'x') return XWHITEOUTS;
      continue;
    }
    // No such mark, or a file system (or namespace) without such xattrs, which then has no marks.
    if (!noXattr(value)) return value;
  }
  if (!dotForms) return PLAIN;
  const path = `${name}/${WH_OPAQUE}`;
  const found = sys.native.statx(dirfd, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, STAT_C);
  return found === 0 ? OPAQUE : PLAIN;
}

/** Makes a whiteout device at `name`. */
export function makeWhiteout(sys: Sys, dirfd: number, name: string): number {
  return sys.native.mknodat(dirfd, name, S_IFCHR, 0, 0);
}
