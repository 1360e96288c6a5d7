/**
 * Renames directories that have lowers in an upper that holds no redirects (format=plain). First all their
 * content is copied up in place. A directory whose content is complete gets the mark `opaque`; from then on
 * it has no lowers. So each step leaves the tree as clients saw it, also after a crash, and a complete
 * directory is not visited again.
 */
import { E, PARKED } from '../../base/errno.js';
import { DT_DIR, isDir } from '../../base/mode.js';
import { copyUp } from '../copyUp/copyUp.js';
import { F_UPPER } from '../inodes/record.js';
import { FROM_UPPER } from '../listing/dirListing.js';
import { locate, type NameSlot } from '../lookup/locate.js';
import { hasMetacopy } from '../lookup/lowerMarks.js';
import { dirListingOf } from '../lookup/readdir.js';
import type { Overlay } from '../overlay.js';
import { setOpaque } from './whiteouts.js';
import { dropXWhiteouts } from './whiteouts.js';

/** Others get their turn when it has copied for so long. */
const SLICE_MS = 20;

/**
 * Nodes of files whose data the pool copies while their rename waits. Nobody else may know them, and with
 * the node the copy would end.
 */
const awaited = new WeakMap<Overlay, Set<number>>();

/** One turn of a rename: when it began to copy. */
interface Turn {
  copying: number | undefined;
}

/** Gives a directory no lowers, with all that they show in it, where no redirect can. 0, PARKED or -errno. */
export function bringWhole(ov: Overlay, place: NameSlot): number {
  if (!ov.plain || !place.dir) return 0;
  return wholeDir(ov, place.node, { copying: undefined });
}

const isWhole = (ov: Overlay, node: number): boolean =>
  ov.table.has(node, F_UPPER) && ov.table.lower(node) === 0;

function wholeDir(ov: Overlay, node: number, turn: Turn): number {
  if (isWhole(ov, node)) return 0;
  const up = copyUp(ov, node);
  const listing = up < 0 ? up : dirListingOf(ov, node);
  if (typeof listing === 'number') return listing;
  for (const name of [...listing.names()]) {
    const slot = listing.slot(name);
    if (slot === undefined) continue;
    const isFile = listing.type(slot) !== DT_DIR;
    const there = isFile && listing.source(slot) === FROM_UPPER ? hasData(ov, node, name) : 0;
    const code = there === 0 ? wholeEntry(ov, node, name, turn) : there;
    if (code < 0) return code;
  }
  return close(ov, node);
}

/** 1 for an upper file with its data, 0 for a metadata-only copy of before; -errno. */
function hasData(ov: Overlay, parent: number, name: string): number {
  const dir = ov.upperDir(parent);
  const copied = dir < 0 ? dir : hasMetacopy(ov, dir, name);
  return copied < 0 ? copied : 1 - copied;
}

function wholeEntry(ov: Overlay, parent: number, name: string, turn: Turn): number {
  const found = locate(ov, parent, name);
  if (typeof found === 'number') return found;
  const { node } = found;
  if (node === 0) return 0;
  const waiting = awaited.get(ov) ?? new Set();
  awaited.set(ov, waiting);
  // It must outlive what is looked up below it.
  if (!waiting.delete(node)) ov.table.remember(node);
  turn.copying ??= performance.now();
  let code = isDir(ov.table.mode(node)) ? wholeDir(ov, node, turn) : copyUp(ov, node);
  if (code >= 0 && performance.now() > turn.copying + SLICE_MS) code = ov.flushes.pause();
  if (code === PARKED && ov.bulk.of(node)) waiting.add(node);
  else ov.table.forget(node, 1, 0, ov.dropped);
  return code;
}

/** All that the lowers show in the directory is in the upper. */
function close(ov: Overlay, node: number): number {
  const { table } = ov;
  const dir = ov.upperDir(table.parent(node));
  let code = dir < 0 ? dir : dropXWhiteouts(ov, node);
  if (code >= 0) code = setOpaque(ov, dir, table.name(node));
  if (code < 0) return code === -E.EOPNOTSUPP ? -E.EXDEV : code;
  ov.dropLower(node);
  ov.dirListings.drop(node);
  return 0;
}
