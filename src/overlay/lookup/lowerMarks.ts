/** Reads the marks that a lower has for a file, and for what lies below a directory. */
import { display } from '../../base/bytes.js';
import { parseRedirect, type DirMarks } from '../../layer/whiteout.js';
import { readMetacopy } from '../../layer/metacopy.js';
import { noXattr } from '../../layer/absence.js';
import { log } from '../../sys/log.js';
import { PLACE_TOUCHED, PLACE_XWHITEOUTS } from '../inodes/places.js';
import type { Overlay } from '../overlay.js';

/** 1 for a metadata-only copy, 0 for a whole file; -EIO (logged) for a mark of an unknown form, -errno. */
export const hasMetacopy = (ov: Overlay, dir: number, name: string): number =>
  readMetacopy(ov.sys, dir, name, ov.markPrefix);

/** The mark of a metadata-only copy is not honoured where anybody can write it (ovl_lookup). */
export function refusesMetacopy(ov: Overlay, name: string): boolean {
  if (ov.userxattr) {
    log(`refusing the metadata-only copy ${display(name)}: mounted with userxattr`);
  }
  return ov.userxattr;
}

/** The redirect of a metadata-only copy; "" for none, -errno for one that cannot be. */
export function fileRedirect(ov: Overlay, dir: number, name: string): string | number {
  const value = ov.sys.xattr(dir, name, `${ov.markPrefix}redirect`);
  if (typeof value === 'number') return noXattr(value) ? '' : value;
  return parseRedirect(value);
}

export const placeFlags = (marks: DirMarks): number =>
  (marks.xwhiteouts ? PLACE_XWHITEOUTS : 0) | (marks.touched ? PLACE_TOUCHED : 0);

/**
 * Whether every file in a lower's directory must be asked if it is a metadata-only copy; elsewhere
 * only those with fewer blocks than their size needs are (`isSparse`; a copy with many xattrs may
 * have as many). A union leaves marks on the directories it writes to, but for those that it made in
 * one it had made, and for the root. Tools that write data-only layers mark none.
 */
export const mayHoldCopies = (ov: Overlay, place: number): boolean =>
  ov.data !== undefined ||
  ov.lowers.parentOf(place) === 0 ||
  ov.lowers.marked(place, PLACE_TOUCHED);
