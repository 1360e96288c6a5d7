/**
 * Writing whiteouts into the upper's directories: their announcement, where they are files
 * (xwhiteouts), and their removal where they hide nothing any more.
 */
import { DT_REG } from '../../base/mode.js';
import { noName, vanished } from '../../layer/absence.js';
import { readEntries } from '../../layer/directory.js';
import { isXWhiteout } from '../../layer/whiteout.js';
import { XATTR } from '../../sys/sys.js';
import { F_XWHITEOUTS } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';

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
  const { native, stats } = ov.sys;
  const { listed } = stats;
  const found: string[] = [];
  const read = readEntries(ov.sys, dir, (name, type) => {
    if (type !== DT_REG) return 0;
    const known = ov.sys.statName(dir, name, listed);
    if (known < 0) return vanished(known) ? 0 : known;
    const whiteout = isXWhiteout(ov.sys, dir, name, listed, ov.markPrefix);
    if (whiteout > 0) found.push(name);
    return whiteout;
  });
  if (read < 0) return read;
  for (const name of found) {
    const code = native.unlinkat(dir, name, 0);
    if (code < 0 && !noName(code)) return code;
  }
  ov.table.clear(node, F_XWHITEOUTS);
  return 0;
}
