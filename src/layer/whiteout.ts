/**
 * Whiteouts and opaque directories in every format. No other file names one.
 *
 * Read are:
 * - 0:0 character devices;
 * - `overlay.opaque` = `y`, in the trusted and in the user namespace;
 * - xwhiteouts: an empty regular file with `overlay.whiteout`, in a directory whose `overlay.opaque` is `x`;
 * - in lower layers also AUFS's and OCI's `.wh.NAME` and `.wh..wh..opq`, which containers/storage writes when
 *   a mount program is configured.
 *
 * Written are 0:0 devices, or xwhiteouts where the upper takes no device nodes, and `opaque` = `y`.
 *
 * A whiteout that a client makes is an object of the union, for an overlay above that has its upper here. It
 * is shown as a 0:0 device, but must hide nothing on disk. So on disk it is a 0:1 device with the mark
 * `overlay.whiteout`, stored as a client's xattr, one level deeper. No driver makes such devices, none takes
 * the pair for a whiteout, and kernel overlayfs copies the mark up with the device.
 * (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".)
 */
import { E } from '../base/errno.js';
import { isChr, isReg, S_IFCHR, S_IFREG } from '../base/mode.js';
import { STATX_TYPE } from '../sys/constants.js';
import type { Stat } from '../sys/stat.js';
import { type Sys, XATTR, XATTR_LIST, XATTR_MAX } from '../sys/sys.js';
import { noName, noXattr } from './absence.js';
import { markSpaces, NESTED_WHITEOUT, TRUSTED } from './xattrs.js';

const WH_PREFIX = '.wh.';
const WH_OPAQUE = '.wh..wh..opq';
/** What fuse-overlayfs leaves in an opaque directory of its upper, besides (a 0:0 device). */
const WH_OPAQUE_DEVICE = '.wh..opq';
/** Its mark where it may not write trusted xattrs. */
const FUSE_OVERLAYFS_OPAQUE = 'user.fuseoverlayfs.opaque';
/** A `.wh.` file can hide names up to this length. */
const WH_NAME_MAX = 255 - WH_PREFIX.length;

/** What the marks of one directory in one layer say. */
export interface DirMarks {
  /** Nothing below shows through. */
  readonly opaque: boolean;
  /** Empty regular files in it may be xwhiteouts. */
  readonly xwhiteouts: boolean;
  /** Its entries may carry an origin. */
  readonly impure: boolean;
  /** A union has written to it: it carries a mark of whatever kind. */
  readonly touched: boolean;
  /** Its name in the layers below, or its absolute path there; "" when that is its own name. */
  readonly redirect: string;
}

const PLAIN: DirMarks = {
  opaque: false,
  xwhiteouts: false,
  impure: false,
  touched: false,
  redirect: '',
};
const OPAQUE: DirMarks = { ...PLAIN, opaque: true };

/** True for a 0:0 character device. */
export const isDeviceWhiteout = (stat: Stat): boolean =>
  isChr(stat.mode) && stat.rdevMajor === 0 && stat.rdevMinor === 0;

/** Minor number of a client's whiteout on disk; the major is 0. */
export const NESTED_MINOR = 1;

/** True for a device that the mark may make a client's whiteout. */
export const mayBeNested = (stat: Stat): boolean =>
  stat.rdevMajor === 0 && stat.rdevMinor === NESTED_MINOR;

/**
 * Makes `stat`, of the character device `dirfd`/`name`, show 0:0 when that is a client's whiteout.
 * Returns 0 or -errno.
 */
export function showNested(sys: Sys, dirfd: number, name: string, stat: Stat): number {
  if (!mayBeNested(stat)) return 0;
  const marked = sys.native.getxattr(dirfd, name, NESTED_WHITEOUT, 0, 0);
  if (marked < 0) return noXattr(marked) ? 0 : marked;
  stat.rdevMinor = 0;
  return 0;
}

/** Makes a client's whiteout with permissions `mode` at a free name. Returns >= 0 or -errno. */
export function makeNested(sys: Sys, dirfd: number, name: string, mode: number): number {
  const made = sys.native.mknodat(dirfd, name, mode, 0, NESTED_MINOR);
  if (made < 0) return made;
  const size = sys.put('y', XATTR);
  const code = sys.native.setxattr(dirfd, name, NESTED_WHITEOUT, XATTR, size, 0);
  if (code < 0) sys.native.unlinkat(dirfd, name, 0);
  return code;
}

/**
 * 1 when `dirfd`/`name`, whose attributes are in `stat`, is an xwhiteout, 0 when not, -errno; ask only in
 * a directory with that mark.
 */
export function isXWhiteout(
  sys: Sys,
  dirfd: number,
  name: string,
  stat: Stat,
  prefix: string = TRUSTED,
): number {
  if (!isReg(stat.mode) || stat.size !== 0) return 0;
  for (const space of markSpaces(prefix)) {
    const marked = sys.native.getxattr(dirfd, name, `${space}whiteout`, 0, 0);
    if (marked >= 0) return 1;
    if (!noXattr(marked)) return marked;
  }
  return 0;
}

/** 1 when `.wh.NAME` stands beside `name` in a lower's directory, 0 when not, -errno when that cannot be told. */
export function dotWhiteout(sys: Sys, dirfd: number, name: string): number {
  if (name.length > WH_NAME_MAX) return 0;
  return present(sys, dirfd, WH_PREFIX + name);
}

function present(sys: Sys, dirfd: number, path: string): number {
  const found = sys.statName(dirfd, path, sys.stats.probe, STATX_TYPE);
  if (found === 0) return 1;
  return noName(found) ? 0 : found;
}

/**
 * Reads a redirect: one name, or an absolute path without empty components (ovl_get_redirect_xattr);
 * what follows a NUL is not of it. Returns -EINVAL for another form and, as lookup_one does, -EACCES
 * for "." and "..", which would lead elsewhere and are never written.
 */
export function parseRedirect(value: string): string | number {
  const [redirect] = value.split('\0', 1);
  const names = redirect.startsWith('/') ? redirect.slice(1).split('/') : [redirect];
  if (names.some((name) => name === '' || name.includes('/'))) return -E.EINVAL;
  return names.includes('.') || names.includes('..') ? -E.EACCES : redirect;
}

/** True for names that are marks in a lower layer and never entries. */
export const isDotMark = (name: string): boolean => name.startsWith(WH_PREFIX);

/** xattrs that fuse-overlayfs keeps for itself: in a layer they are marks, and go nowhere else. */
export const isFuseOverlayfsMark = (key: string): boolean =>
  key === FUSE_OVERLAYFS_OPAQUE || key === 'user.fuseoverlayfs.origin';

/** Names in an upper of fuse-overlayfs that are marks of their directory and no entries. */
export const isOpaqueFile = (name: string): boolean =>
  name === WH_OPAQUE || name === WH_OPAQUE_DEVICE;

/** The name a `.wh.` file hides; undefined for AUFS's own files (`.wh..wh.…`). */
export function dotHidden(name: string): string | undefined {
  const hidden = name.slice(WH_PREFIX.length);
  return hidden === '' || hidden.startsWith(WH_PREFIX) ? undefined : hidden;
}

/**
 * Reads the marks of directory `name` (".": `dirfd` itself). `dotForms`: also the
 * forms of AUFS and fuse-overlayfs, in a lower or a plain upper. A redirect counts only in the
 * namespace the mount trusts, `prefix`: a user could write the
 * other. Returns -errno when the marks cannot be read.
 */
export function dirMarks(
  sys: Sys,
  dirfd: number,
  name: string,
  dotForms: boolean,
  prefix: string = TRUSTED,
): DirMarks | number {
  const bytes = sys.native.listxattr(dirfd, name, XATTR_LIST, XATTR_MAX);
  if (bytes < 0 && !noXattr(bytes)) return bytes;
  const list = bytes > 0 ? sys.text(XATTR_LIST, bytes) : '';
  const marks = list.includes('overlay.') ? xattrMarks(sys, dirfd, name, list, prefix) : PLAIN;
  if (typeof marks === 'number' || marks.opaque || !dotForms) return marks;
  if (list.split('\0').includes(FUSE_OVERLAYFS_OPAQUE)) return OPAQUE;
  const found = present(sys, dirfd, `${name}/${WH_OPAQUE}`);
  if (found < 0) return found;
  return found === 1 ? OPAQUE : marks;
}

function xattrMarks(
  sys: Sys,
  dirfd: number,
  name: string,
  list: string,
  prefix: string,
): DirMarks | number {
  const keys = list.split('\0');
  const marks = { ...PLAIN, touched: keys.some((key) => key.startsWith(prefix)) };
  for (const space of markSpaces(prefix)) {
    if (keys.includes(`${space}impure`)) marks.impure = true;
    if (!keys.includes(`${space}opaque`)) continue;
    const value = sys.xattr(dirfd, name, `${space}opaque`);
    if (typeof value === 'number') {
      if (noXattr(value)) continue; // gone since it was listed
      return value;
    }
    marks.opaque = value === 'y';
    marks.xwhiteouts = value === 'x';
  }
  if (!keys.includes(`${prefix}redirect`)) return marks;
  const value = sys.xattr(dirfd, name, `${prefix}redirect`);
  if (typeof value === 'number') return noXattr(value) ? marks : value;
  const redirect = parseRedirect(value);
  return typeof redirect === 'number' ? redirect : { ...marks, redirect };
}

/** Makes a whiteout device at a free name. */
export function makeWhiteout(sys: Sys, dirfd: number, name: string): number {
  return sys.native.mknodat(dirfd, name, S_IFCHR, 0, 0);
}

/** Makes an xwhiteout at a free name, in a directory that has or will have `opaque=x`. */
export function makeXWhiteout(sys: Sys, dirfd: number, name: string, prefix: string): number {
  const made = sys.native.mknodat(dirfd, name, S_IFREG | 0o644, 0, 0);
  if (made < 0) return made;
  const code = sys.native.setxattr(dirfd, name, `${prefix}whiteout`, 0, 0, 0);
  if (code < 0) sys.native.unlinkat(dirfd, name, 0);
  return code;
}
