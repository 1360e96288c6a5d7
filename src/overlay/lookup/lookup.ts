/**
 * Lookup: resolves a name in a directory, from the upper down through the lowers (ovl_lookup), and finds or
 * makes the node for it.
 *
 * A node that is no directory is identified by its real object (layer, inode number), so that hard links
 * share a node. Directories are identified by their name. Without the index, the names of a lower file with
 * several links become separate files at copy-up, so in a writable mount each of them is a node of its own
 * (ovl_hash_bylower).
 */
import { E } from '../../base/errno.js';
import { DT_DIR, DT_REG, isDir, isReg } from '../../base/mode.js';
import { noName, noXattr } from '../../layer/absence.js';
import { findOrigin, indexName } from '../../layer/origin.js';
import { dirMarks, isDotMark, isOpaqueFile } from '../../layer/whiteout.js';
import { ROOT } from '../../protocol/flags.js';
import { SPOILS, spoil } from '../../sys/stat.js';
import { type DirListing, FROM_UPPER } from '../listing/dirListing.js';
import { Found, type LowerFile } from '../hit.js';
import { foundLower, isSparse, setKey, showIno } from './identity.js';
import {
  F_GUARDED,
  F_IMPURE,
  F_INDEXED,
  F_LINKED,
  F_METACOPY,
  F_ORPHAN,
  F_UPPER,
  F_XWHITEOUTS,
} from '../inodes/record.js';
import { coverByIndex, coverName, enterIndex } from './hardLinks.js';
import { fileRedirect, hasMetacopy, mayHoldCopies, refusesMetacopy } from './lowerMarks.js';
import { type Below, EVERYWHERE, type Range, SAME_NAME, walkLowers } from './lowerWalk.js';
import { giveUpNumber, keepNumber } from './numbered.js';
import type { Overlay } from '../overlay.js';
import { listingAfterMany } from './readdir.js';
import { mayBeGuarded } from '../guard.js';
import { isLowerXWhiteout, isUpperWhiteout } from './isWhiteout.js';

/**
 * Finds `name` in directory `parent`; the result is in `ov.hit`. Returns 0 (also when nothing is found) or -errno.
 */
export function resolve(ov: Overlay, parent: number, name: string): number {
  ov.hit.reset();
  const { entry, origin, listed } = ov.sys.stats;
  if (SPOILS) spoil(entry, origin, listed);
  if (name.length > ov.nameMax) return -E.ENAMETOOLONG;
  let code = resolveLayers(ov, parent, name);
  if (code >= 0 && ov.hit.linked) code = coverByIndex(ov, name);
  if (code >= 0) giveUpNumber(ov, parent, name);
  return code;
}

function resolveLayers(ov: Overlay, parent: number, name: string): number {
  const listing = ov.live
    ? undefined
    : (ov.dirListings.ask(parent) ?? listingAfterMany(ov, parent));
  let range = EVERYWHERE;
  if (listing) {
    const slot = listing.slot(name);
    if (slot === undefined) return 0;
    if (listing.type(slot) !== DT_DIR) return resolveListed(ov, parent, name, listing, slot);
    range = { first: listing.source(slot) - 1, last: listing.last(slot) - 1, listed: true };
  }
  if (range.first < 0 && ov.table.has(parent, F_UPPER)) {
    const found = resolveUpper(ov, parent, name);
    if (typeof found === 'number') return found;
    return walkLowers(ov, parent, name, range, found);
  }
  return resolveLowers(ov, parent, name, range);
}

/** What only the lowers have of a name. */
export function resolveLowers(
  ov: Overlay,
  parent: number,
  name: string,
  range: Range = EVERYWHERE,
): number {
  if (isDotMark(name)) return 0;
  return walkLowers(ov, parent, name, range, SAME_NAME);
}

/** A number when the upper settles it: 0 or -errno. */
function resolveUpper(ov: Overlay, parent: number, name: string): Below | number {
  const { hit, sys } = ov;
  if (ov.plain && isOpaqueFile(name)) return 0;
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const { stat } = hit;
  const code = sys.statName(dir, name, stat);
  if (noName(code)) return isDotMark(name) ? 0 : SAME_NAME;
  const whiteout = code < 0 ? code : isUpperWhiteout(ov, parent, dir, name, stat);
  if (whiteout < 0) return whiteout;
  if (whiteout > 0) {
    hit.found = Found.UpperWhiteout;
    return 0;
  }
  hit.layer = ov.upper?.id ?? 0;
  const told = ov.show(hit.layer, dir, name, stat);
  if (told < 0) return told;
  hit.found = Found.Upper;
  hit.mode = stat.mode;
  if (!isDir(hit.mode)) return identifyUpper(ov, parent, dir, name);
  showIno(ov, hit.layer, stat);
  const marks = dirMarks(sys, dir, name, ov.plain, ov.markPrefix);
  if (typeof marks === 'number') return marks;
  hit.impure = marks.impure;
  hit.xwhiteouts = marks.xwhiteouts;
  return marks.opaque ? 0 : { redirect: marks.redirect, metacopy: false };
}

/** Inode number, key and data of an upper object that is not a directory; its attributes are in `hit.stat`. */
function identifyUpper(ov: Overlay, parent: number, dir: number, name: string): Below | number {
  const { hit } = ov;
  setKey(hit);
  hit.keyed = true;
  showIno(ov, hit.layer, hit.stat);
  // Only in a directory marked impure can an entry have an origin.
  const numbered = ov.table.has(parent, F_IMPURE) ? followOrigin(ov, dir, name) : 0;
  if (numbered < 0) return numbered;
  // A copy of a file with several links may have no origin, and yet be metadata alone.
  return isReg(hit.mode) ? dataOf(ov, dir, name) : 0;
}

/** Shows a copy with the number of its origin, if that can be found. Returns 0 or -errno. */
function followOrigin(ov: Overlay, dir: number, name: string): number {
  const origin = ov.sys.xattr(dir, name, `${ov.markPrefix}origin`);
  if (typeof origin === 'number') return noXattr(origin) ? 0 : origin;
  const layer = findOrigin(ov.sys, ov.origins, origin, ov.sys.stats.origin);
  return layer <= 0 ? layer : showOrigin(ov, layer, origin);
}

/** Where a regular file of the upper has its data: 0 for in itself, or below; -errno. */
function dataOf(ov: Overlay, dir: number, name: string): Below | number {
  const metacopy = hasMetacopy(ov, dir, name);
  if (metacopy <= 0) return metacopy;
  if (refusesMetacopy(ov, name)) return -E.EPERM;
  const redirect = fileRedirect(ov, dir, name);
  return typeof redirect === 'number' ? redirect : { redirect, metacopy: true };
}

/**
 * The number of a copy's origin, whose attributes are in the view `origin`. A copy of one name among several must not
 * share it, unless the index says that it is the copy for all of them (ovl_getattr). 0 or -errno.
 */
function showOrigin(ov: Overlay, layer: number, origin: string): number {
  const { hit, links, sys } = ov;
  const { stats } = sys;
  if (links && links.dir >= 0 && hit.stat.nlink > 1) {
    const entry = indexName(origin);
    const found = links.stat(entry, stats.entry);
    if (found < 0 && !noName(found)) return found;
    if (found >= 0 && stats.entry.hasInoOf(hit.stat)) hit.index = entry;
  }
  if (hit.index !== '' || stats.origin.nlink === 1) showIno(ov, layer, stats.origin);
  return 0;
}
/** The lowers from the one that `source` of a listing names. */
const onward = (source: number): Range => ({ first: source - 1, last: Infinity, listed: false });

/** An entry whose place the listing tells: one statx, unless it may be a metadata-only copy. */
function resolveListed(
  ov: Overlay,
  parent: number,
  name: string,
  listing: DirListing,
  slot: number,
): number {
  const { sys, lowers } = ov;
  const source = listing.source(slot);
  if (source === FROM_UPPER) {
    const found = resolveUpper(ov, parent, name);
    if (typeof found === 'number') return found;
    return walkLowers(ov, parent, name, EVERYWHERE, found);
  }
  const place = lowers.place(ov.table.lower(parent), source - 1);
  if (mayHoldCopies(ov, place) && listing.type(slot) === DT_REG) {
    return walkLowers(ov, parent, name, onward(source), SAME_NAME);
  }
  const dir = ov.lowerDir(place);
  if (dir < 0) return dir;
  const { stat } = ov.hit;
  const code = sys.statName(dir, name, stat);
  if (code < 0) return code;
  const whiteout = isLowerXWhiteout(ov, place, dir, name, stat);
  if (whiteout !== 0) return Math.min(whiteout, 0);
  if (isReg(stat.mode) && isSparse(stat)) {
    return walkLowers(ov, parent, name, onward(source), SAME_NAME);
  }
  const told = ov.show(lowers.layerOf(place), dir, name, stat);
  if (told >= 0) foundLower(ov, place);
  return told;
}

/** The node of what `ov.hit` shows under (parent, name), made when it is new. Its lookup count is not raised. */
export function nodeOfHit(ov: Overlay, parent: number, name: string): number {
  const { hit, table } = ov;
  const named = table.byName(parent, name);
  if (named !== 0) return named;
  if (hit.keyed) {
    const keyed = table.byKey(hit.layer, hit.keyLo, hit.keyHi);
    if (keyed !== 0) {
      addName(ov, keyed, parent, name);
      indexed(ov, keyed);
      return keyed;
    }
  }
  const node = table.create(parent, name, hit.mode);
  table.setIno(node, hit.inoLo, hit.inoHi);
  if (hit.keyed) table.setKey(node, hit.layer, hit.keyLo, hit.keyHi);
  if (hit.found === Found.Upper) table.set(node, F_UPPER);
  else if (hit.linked) table.set(node, F_LINKED);
  keepNumber(ov, node);
  if (mayBeGuarded(hit.stat)) table.set(node, F_GUARDED);
  indexed(ov, node);
  if (isDir(hit.mode)) {
    table.setLower(node, stackOfHit(ov));
    if (hit.found === Found.Upper && hit.impure) table.set(node, F_IMPURE);
    if (hit.found === Found.Upper && hit.xwhiteouts) table.set(node, F_XWHITEOUTS);
  } else if (hit.data) {
    table.setLower(node, dataStack(ov, hit.data, hit.found === Found.Lower ? hit.place : 0));
    table.set(node, F_METACOPY);
  } else if (hit.found === Found.Lower) {
    ov.lowers.hold(hit.place);
    table.setLower(node, hit.place);
  }
  return node;
}

/** What the hit says of the node's entry in the index. */
function indexed(ov: Overlay, node: number): void {
  const { hit, table } = ov;
  if (hit.index === '') return;
  if (!table.has(node, F_INDEXED)) enterIndex(ov, node, hit.index);
  if (hit.covered) coverName(ov, node);
}

/** A further name of a hard-linked file. One that had lost all names it was known by is no orphan any more. */
function addName(ov: Overlay, node: number, parent: number, name: string): void {
  const { table } = ov;
  if (!table.has(node, F_ORPHAN)) {
    table.addAlias(node, parent, name);
    return;
  }
  ov.work?.removeOrphan(ov.realName(node), false);
  table.clear(node, F_ORPHAN);
  table.rename(node, parent, name, ov.dropped);
  // The link in the workdir has gone since the attributes were read.
  if (ov.stat(node, ov.hit.stat) < 0) ov.hit.stat.nlink--;
}

/** The stack of a metadata-only copy: the directory it is in when that is a lower's, then its data. */
export function dataStack(ov: Overlay, data: LowerFile, place: number): number {
  const { lowers } = ov;
  const file = lowers.addPlace(lowers.layerOf(data.parent), data.parent, data.name, 0);
  if (place === 0) return lowers.addStack([file]);
  lowers.hold(place);
  return lowers.addStack([place, file]);
}

/** A stack of the directories that the hit is made of. */
export function stackOfHit(ov: Overlay): number {
  const { hit, lowers } = ov;
  const places = hit.dirs.map(({ parent, name, flags, ino, stamp }) => {
    const place = lowers.addPlace(lowers.layerOf(parent), parent, name, flags);
    lowers.setStamp(place, ino, stamp);
    return place;
  });
  return lowers.addStack(places);
}

/** The lookup of ".." that a dirent of `node` shows. */
export const parentOf = (ov: Overlay, node: number): number =>
  node === ROOT ? ROOT : ov.table.parent(node);
