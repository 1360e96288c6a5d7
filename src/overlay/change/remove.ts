/**
 * Removes names. A removal copies nothing up (ovl_do_remove):
 * - A lower object gets a whiteout.
 * - An upper object moves to the workdir as an orphan, as its node may still be in use; it is deleted at
 *   FORGET. Where a lower object would show through, the same step leaves a whiteout.
 */
import { E } from '../../base/errno.js';
import { copyUp, copyUpMeta } from '../copyUp/copyUp.js';
import { F_ORPHAN, F_UPPER } from '../inodes/record.js';
import { countByUpper, lacksNames, settleLinks } from '../lookup/hardLinks.js';
import { locate, lowerShows, type NameSlot } from '../lookup/locate.js';
import { orphanName, type Overlay } from '../overlay.js';
import { refusedIn } from '../guard.js';
import { dirListingOf } from '../lookup/readdir.js';
import { announceWhiteouts, coverLower } from './whiteouts.js';

export function unlink(ov: Overlay, parent: number, name: string): number {
  const place = locate(ov, parent, name);
  if (typeof place === 'number') return place;
  if (place.node === 0) return -E.ENOENT;
  if (place.dir) return -E.EISDIR;
  const guarded = refusedIn(ov, parent, place.node);
  return guarded < 0 ? guarded : removeName(ov, place);
}

export function rmdir(ov: Overlay, parent: number, name: string): number {
  const place = locate(ov, parent, name);
  if (typeof place === 'number') return place;
  if (place.node === 0) return -E.ENOENT;
  const guarded = refusedIn(ov, parent, place.node);
  if (guarded < 0) return guarded;
  if (!place.dir) return -E.ENOTDIR;
  const empty = checkEmpty(ov, place.node);
  return empty < 0 ? empty : removeName(ov, place);
}

/** 0 when the merged directory has no entries, else -ENOTEMPTY. */
export function checkEmpty(ov: Overlay, node: number): number {
  const listing = dirListingOf(ov, node);
  if (typeof listing === 'number') return listing;
  return listing.size === 0 ? 0 : -E.ENOTEMPTY;
}

function removeName(ov: Overlay, place: NameSlot): number {
  const { parent, name, node } = place;
  let up = copyUp(ov, parent);
  if (up >= 0) up = ownName(ov, node);
  if (up < 0) return up;
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const code = ov.table.has(node, F_UPPER)
    ? removeUpper(ov, place, dir)
    : coverLower(ov, parent, dir, name);
  if (code < 0) return code;
  ov.dirListings.get(parent)?.remove(name);
  if (!ov.table.has(node, F_UPPER)) ov.table.detachName(node);
  return 0;
}

/**
 * Before a name of a lower file with several links goes, the upper must have the file: on it the
 * links that are left are counted (ovl_nlink_start).
 */
export function ownName(ov: Overlay, node: number): number {
  const code = lacksNames(ov, node) ? copyUpMeta(ov, node) : 0;
  return code < 0 ? code : countByUpper(ov, node);
}

function removeUpper(ov: Overlay, place: NameSlot, dir: number): number {
  const { parent, name, node } = place;
  const shows = lowerShows(ov, parent, name);
  if (typeof shows === 'number') return shows;
  const announced = shows ? announceWhiteouts(ov, parent, dir) : 0;
  if (announced < 0) return announced;
  const orphan = isLastName(ov, node, parent, name) ? orphanName(node) : undefined;
  const code = ov.work?.takeAway(dir, name, orphan, shows) ?? -E.EROFS;
  if (code < 0) return code;
  forgetName(ov, node, parent, name);
  return 0;
}

/** True when no other name of the node is known: the object must be kept under an orphan name. */
export function isLastName(ov: Overlay, node: number, parent: number, name: string): boolean {
  const { table } = ov;
  return !table.hasOtherName(node, parent, name);
}

/** The upper object of `node` no longer is at (parent, name): another name takes over, or it is an orphan now. */
export function forgetName(ov: Overlay, node: number, parent: number, name: string): void {
  const { table } = ov;
  if (!table.isCanonical(node, parent, name)) {
    table.removeAlias(node, parent, name, ov.dropped);
    settleLinks(ov, node);
    return;
  }
  const alias = table.takeAlias(node);
  if (alias) {
    table.rename(node, alias.parent, alias.name, ov.dropped);
    return;
  }
  table.detachName(node);
  table.set(node, F_ORPHAN);
  ov.room.orphaned++;
}
