/**
 * Whiteouts in the upper, and which files of lowers are some. Where device nodes are refused they are files (xwhiteouts), which count
 * only in a directory that says so with `opaque=x`, or in every one when the root says so: that mark
 * comes first.
 */
import { E } from '../base/errno.js';
import { DT_REG } from '../base/mode.js';
import { readEntries } from '../layer/directory.js';
import { isDeviceWhiteout, isXWhiteout } from '../layer/whiteout.js';
import { ROOT } from '../protocol/flags.js';
import { AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS } from '../sys/constants.js';
import { STAT_B, XATTR } from '../sys/sys.js';
import { F_XWHITEOUTS } from './inodeRecord.js';
import { PLACE_XWHITEOUTS } from './lowers.js';
import type { Overlay } from './overlay.js';

/** True when `name` in `dir`, the upper directory of node `parent`, is a whiteout; its statx is at `at`. */
export function isUpperWhiteout(
  ov: Overlay,
  parent: number,
  dir: number,
  name: string,
  at: number,
): boolean {
  if (isDeviceWhiteout(ov.sys, at)) return true;
  return upperAnnounces(ov, parent) && isXWhiteout(ov.sys, dir, name, at, ov.markPrefix);
}

/** True for an xwhiteout in a lower's directory `place`. */
export const isLowerXWhiteout = (
  ov: Overlay,
  place: number,
  dir: number,
  name: string,
  at: number,
): boolean => lowerAnnounces(ov, place) && isXWhiteout(ov.sys, dir, name, at, ov.markPrefix);

/**
 * Whether empty files in a lower's directory may be xwhiteouts. Its own mark or that of the layer's
 * root announces them. Kernel overlayfs looks for them everywhere (ovl_path_is_whiteout) and leaves
 * them out of listings only by a directory's own mark; a layer without marks is not asked here.
 */
export const lowerAnnounces = ({ lowers, xwhiteouts }: Overlay, place: number): boolean =>
  lowers.marked(place, PLACE_XWHITEOUTS) ||
  (xwhiteouts.size > 0 && xwhiteouts.has(lowers.layerOf(place)));

/** The same of the upper directory of node `parent`. */
export const upperAnnounces = ({ table }: Overlay, parent: number): boolean =>
  table.has(parent, F_XWHITEOUTS) || table.has(ROOT, F_XWHITEOUTS);

/** Makes `dir`, the upper directory of node `parent`, ready to hold whiteouts. Returns 0 or -errno. */
export function announceWhiteouts(ov: Overlay, parent: number, dir: number): number {
  if (ov.work?.xwhiteouts !== true || ov.table.has(parent, F_XWHITEOUTS)) return 0;
  ov.sys.put('x', XATTR);
  const code = ov.sys.native.setxattr(dir, '.', `${ov.markPrefix}opaque`, XATTR, 1, 0);
  if (code >= 0) ov.table.set(parent, F_XWHITEOUTS);
  return Math.min(code, 0);
}

/**
 * Removes the xwhiteouts of a directory that is about to become opaque: they hide nothing there, and
 * without their announcement would show as files. Returns 0 or -errno.
 */
export function dropXWhiteouts(ov: Overlay, node: number): number {
  if (!ov.table.has(node, F_XWHITEOUTS)) return 0;
  const dir = ov.upperDir(node);
  if (dir < 0) return dir;
  const { native } = ov.sys;
  const found: string[] = [];
  const read = readEntries(ov.sys, dir, (name, type) => {
    if (type !== DT_REG) return;
    const known = native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, STAT_B);
    if (known >= 0 && isXWhiteout(ov.sys, dir, name, STAT_B, ov.markPrefix)) found.push(name);
  });
  if (read < 0) return read;
  for (const name of found) {
    const code = native.unlinkat(dir, name, 0);
    if (code < 0 && code !== -E.ENOENT) return code;
  }
  ov.table.clear(node, F_XWHITEOUTS);
  return 0;
}
