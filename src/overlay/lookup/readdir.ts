/**
 * Builds the merged listing of a directory once (ovl_dir_read_merged): first what the lowers hold, for all
 * mounts of them, then what the upper holds over it.
 */
import { DT_CHR, DT_DIR, DT_REG } from '../../base/mode.js';
import { vanished } from '../../layer/absence.js';
import { type EntryVisitor, readEntries } from '../../layer/directory.js';
import {
  dotHidden,
  isDeviceWhiteout,
  isDotMark,
  isOpaqueFile,
  isXWhiteout,
} from '../../layer/whiteout.js';
import { DirListing, FROM_UPPER } from '../listing/dirListing.js';
import type { Entries } from '../listing/entries.js';
import { F_IMPURE, F_UPPER } from '../inodes/record.js';
import type { Listing } from '../listing/shared.js';
import { xinoHi } from './identity.js';
import type { Overlay } from '../overlay.js';
import { XATTR_LIST, XATTR_MAX } from '../../sys/sys.js';
import { lowerAnnounces, upperAnnounces } from './isWhiteout.js';

/** Lookups in a directory before it is read, and how many times more before that is tried again. */
const FIRST_TURN = 4;
const NEXT_TURN = 4;
/** With fewer lowers a lookup asks so little of them that a listing does not pay. */
const LEAST_LOWERS = 3;
/** Entries that may be read in the time in which a lookup asks one lower. */
const ENTRIES_EACH = 8;

/** Entries of a directory marked impure that are asked whether they are copies; after that the mark stays. */
const MOST_ASKED = 1000;

/** The listing has more entries than it may have; no errno. */
const TOO_MANY = -0x1_0000;

/** Entries that may still be read. */
interface Budget {
  left: number;
}
const unlimited = (): Budget => ({ left: Infinity });

/** The directory's listing, or -errno. */
export function dirListingOf(ov: Overlay, node: number): DirListing | number {
  return ov.dirListings.ask(node) ?? build(ov, node, unlimited());
}

/**
 * A lookup has found no listing. After a few in one directory of several lowers, what all of them have
 * is read, unless that takes longer than the lookups so far have: then it is tried again after many
 * more. So neither a few names in a large directory nor many in a small one cost much more than they
 * must. Undefined: the layers have to be asked.
 */
export function listingAfterMany(ov: Overlay, node: number): DirListing | undefined {
  const lowers = ov.lowers.count(ov.table.lower(node));
  if (lowers < LEAST_LOWERS) return undefined;
  const asked = ov.dirListings.count(node);
  let turn = FIRST_TURN;
  while (turn < asked) turn *= NEXT_TURN;
  if (turn !== asked) return undefined;
  const listing = build(ov, node, { left: asked * lowers * ENTRIES_EACH });
  return typeof listing === 'number' ? undefined : listing;
}

function build(ov: Overlay, node: number, budget: Budget): DirListing | number {
  const stack = ov.table.lower(node);
  const base = ov.lowers.count(stack) === 0 ? undefined : listingOf(ov, stack, budget);
  if (typeof base === 'number') return base;
  const listing = new DirListing(base);
  const code = ov.table.has(node, F_UPPER) ? addUpper(ov, node, listing, budget) : 0;
  if (code < 0) return code;
  ov.dirListings.keep(node, listing);
  return listing;
}

/** What the lowers of `stack` have, read now unless another mount or an earlier use has; or -errno. */
function listingOf(ov: Overlay, stack: number, budget: Budget): Listing | number {
  const key = keyOf(ov, stack);
  const kept = ov.live ? undefined : ov.listings.get(key);
  if (kept) {
    ov.dirListings.shared++;
    return kept;
  }
  const listing = ov.listings.make(key);
  const merging = { entries: listing.entries, hidden: new Set<string>() };
  for (let i = 0; i < ov.lowers.count(stack); i++) {
    const mark = ov.borrowing();
    const code = addLower(ov, ov.lowers.place(stack, i), i, merging, budget);
    ov.giveBack(mark);
    if (code < 0) return code;
  }
  ov.dirListings.read++;
  if (!ov.live) ov.listings.keep(key, listing);
  return listing;
}

/** Which directories of which lowers, and what they were when they were found. */
function keyOf(ov: Overlay, stack: number): string {
  const { lowers, positionOf } = ov;
  const words: number[] = [];
  for (let i = 0; i < lowers.count(stack); i++) {
    const place = lowers.place(stack, i);
    const marked = lowerAnnounces(ov, place) ? 1 : 0;
    words.push(positionOf(lowers.layerOf(place)) * 2 + marked);
    words.push(lowers.inoOf(place), lowers.stampOf(place));
  }
  return words.join(' ');
}

function addUpper(ov: Overlay, node: number, listing: DirListing, budget: Budget): number {
  const dir = ov.upperDir(node);
  if (dir < 0) return dir;
  const impure = ov.table.has(node, F_IMPURE);
  const merged = ov.table.lower(node) !== 0;
  const layer = ov.upper?.id ?? 0;
  const xwhiteouts = upperAnnounces(ov, node);
  let unasked = impure && !merged ? MOST_ASKED : 0;
  const code = readWithin(ov, dir, budget, (name, type, lo, hi) => {
    if (unasked > 0) unasked = isCopy(ov, dir, name) ? 0 : unasked - 1;
    if (ov.plain && isOpaqueFile(name)) return 0;
    const hide = isHidden(ov, dir, name, type, xwhiteouts);
    if (hide < 0) return hide;
    if (hide > 0) {
      listing.remove(name);
      return 0;
    }
    // What has an origin or lowers is shown with their number: only a lookup tells it.
    const unknown = impure || (merged && type === DT_DIR);
    const below = type === DT_DIR ? listing.slot(name) : undefined;
    const last =
      below !== undefined && listing.type(below) === DT_DIR ? listing.last(below) : undefined;
    listing.put(name, type, FROM_UPPER, unknown ? -1 : lo, xinoHi(ov, layer, hi));
    if (last !== undefined) listing.putLast(name, last);
    return 0;
  });
  listing.pure = code >= 0 && unasked > 0;
  return code;
}

/** What says more of an object of the upper than the object itself. */
const COPY_MARKS = ['origin', 'redirect', 'metacopy'];

/** Whether a mark of it says so, or that is not known. */
function isCopy({ sys, markPrefix }: Overlay, dir: number, name: string): boolean {
  const bytes = sys.native.listxattr(dir, name, XATTR_LIST, XATTR_MAX);
  if (bytes <= 0) return bytes < 0 && !vanished(bytes);
  const keys = sys.text(XATTR_LIST, bytes - 1).split('\0');
  return COPY_MARKS.some((mark) => keys.includes(markPrefix + mark));
}

/**
 * For a client's readdir: a directory that has no copies any more needs no `impure` mark (ovl_dir_read_impure). One
 * that stays is harmless.
 */
export function shedMark(ov: Overlay, node: number, listing: DirListing): void {
  if (!ov.table.has(node, F_IMPURE) || ov.table.lower(node) !== 0) return;
  if (!listing.pure && listing.size > 0) return;
  const dir = ov.upperDir(node);
  if (dir < 0) return;
  if (ov.sys.native.removexattr(dir, '.', `${ov.markPrefix}impure`) >= 0) {
    ov.table.clear(node, F_IMPURE);
  }
}

/** A merged directory while its layers are read, the topmost first. */
interface Merging {
  readonly entries: Entries;
  /** Names that a layer above has hidden. */
  readonly hidden: Set<string>;
}

function addLower(
  ov: Overlay,
  place: number,
  position: number,
  { entries, hidden }: Merging,
  budget: Budget,
): number {
  const dir = ov.lowerDir(place);
  if (dir < 0) return dir;
  const layer = ov.lowers.layerOf(place);
  const xwhiteouts = lowerAnnounces(ov, place);
  // What this layer hides, it hides in the layers below it.
  const hides: string[] = [];
  const code = readWithin(ov, dir, budget, (name, type, lo, hi) => {
    if (isDotMark(name)) {
      const target = dotHidden(name);
      if (target !== undefined) hides.push(target);
      return 0;
    }
    if (hidden.has(name)) return 0;
    const above = entries.slot(name);
    if (above !== undefined) {
      if (type === DT_DIR && entries.type(above) === DT_DIR) entries.merge(above, position + 1);
      else hides.push(name); // a file ends the merging of directories above it
      return 0;
    }
    const hide = isHidden(ov, dir, name, type, xwhiteouts);
    const source = position + 1;
    if (hide > 0) hides.push(name);
    else if (hide === 0) entries.put(name, type, source, lo, xinoHi(ov, layer, hi));
    return hide;
  });
  for (const name of hides) hidden.add(name);
  return code;
}

/** As `readEntries`; TOO_MANY when the budget does not suffice. */
function readWithin(ov: Overlay, dir: number, budget: Budget, visit: EntryVisitor): number {
  const code = readEntries(ov.sys, dir, (name, type, lo, hi) => {
    if (--budget.left < 0) return false;
    return visit(name, type, lo, hi);
  });
  return budget.left < 0 ? TOO_MANY : code;
}

/** 1 for an entry that hides the name and is none itself, 0 for another, -errno. */
function isHidden(
  { sys, markPrefix }: Overlay,
  dir: number,
  name: string,
  type: number,
  xwhiteouts: boolean,
): number {
  const suspect = type === DT_CHR || (type === DT_REG && xwhiteouts);
  if (!suspect) return 0;
  const { listed } = sys.stats;
  const code = sys.statName(dir, name, listed);
  if (code < 0) return vanished(code) ? 0 : code;
  if (type === DT_CHR) return isDeviceWhiteout(listed) ? 1 : 0;
  return isXWhiteout(sys, dir, name, listed, markPrefix);
}
