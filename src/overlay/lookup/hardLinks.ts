/**
 * Hard links of lower files. With the index, all names of such a file are one node, before and after its
 * copy-up: the copy goes to the index, and each known name becomes a link of it (ovl_link_up). A name that
 * the kernel asks for later is found through the index, and becomes a link at the next change.
 *
 * A mark on the file holds the link count of the union. It is written before and after each link, so that
 * after a crash the count may be too high, but never too low: a count that is too low would delete a file
 * that still has names.
 */
import { isReg, S_IFMT } from '../../base/mode.js';
import { E, errnoName } from '../../base/errno.js';
import { noName, noXattr } from '../../layer/absence.js';
import { findOrigin, indexName } from '../../layer/origin.js';
import { isDeviceWhiteout } from '../../layer/whiteout.js';
import { AT_EMPTY_PATH } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import { SPOILS, spoil } from '../../sys/stat.js';
import { Found } from '../hit.js';
import { setKey, showIno } from './identity.js';
import { hasMetacopy } from './lowerMarks.js';
import { F_COVERED, F_INDEXED, F_LINKED, F_ORPHAN } from '../inodes/record.js';
import type { LinkIndex } from '../workdir/linkIndex.js';
import { orphanName, type Overlay } from '../overlay.js';
import { setTimes } from '../../sys/times.js';

/** The node stands for names of which the upper may not have all: each must have its link before a change. */
export const lacksNames = (ov: Overlay, node: number): boolean =>
  ov.table.has(node, F_LINKED | F_COVERED);

/**
 * `ov.hit` is a lower file with several links, `name` in the directory at its place: when it was
 * copied up under another name, the hit becomes that upper file. Returns 0 or -errno.
 */
export function coverByIndex(ov: Overlay, name: string): number {
  const { hit, links } = ov;
  if (!links || links.dir < 0) return 0;
  const dir = ov.lowerDir(hit.place);
  if (dir < 0) return dir;
  const layer = ov.lowers.layerOf(hit.place);
  if (layer === ov.frozen?.upper) return coverFrozen(ov, links, dir, name);
  const entry = links.nameOf(ov.layer(layer), dir, name);
  if (typeof entry === 'number') return entry;
  if (entry === '') return 0;
  const stat = ov.sys.stats.entry;
  const code = links.stat(entry, stat);
  if (code < 0) return noName(code) ? 0 : code;
  const whiteout = isDeviceWhiteout(stat);
  const told = whiteout ? 0 : ov.show(ov.upper?.id ?? 0, links.dir, entry, stat);
  if (told < 0) return told;
  const { mode } = stat;
  const foreign = ((mode ^ hit.mode) & S_IFMT) !== 0 || whiteout;
  if (foreign) {
    log(`bad index entry ${entry}`);
    return -E.EIO;
  }
  const partial = isReg(mode) ? hasMetacopy(ov, links.dir, entry) : 0;
  if (partial < 0) return partial;
  if (partial === 0) hit.data = undefined;
  else hit.data ??= { parent: hit.place, name };
  hit.stat.copyFrom(stat);
  hit.mode = mode;
  hit.covered = true;
  lieInIndex(ov, entry);
  return 0;
}

/** A read-only mount's upper file with several links: is it an indexed one? */
function coverFrozen(ov: Overlay, links: LinkIndex, dir: number, name: string): number {
  const { hit, sys } = ov;
  const { stats } = sys;
  const origin = sys.xattr(dir, name, `${ov.markPrefix}origin`);
  if (typeof origin !== 'string') return noXattr(origin) ? 0 : origin;
  const entry = indexName(origin);
  const code = links.stat(entry, stats.entry);
  if (code < 0) return noName(code) ? 0 : code;
  if (!stats.entry.hasInoOf(hit.stat)) return 0;
  const layer = findOrigin(sys, ov.origins, origin, stats.origin);
  if (layer < 0) return layer;
  if (layer !== 0) showIno(ov, layer, stats.origin);
  lieInIndex(ov, entry);
  return 0;
}

/** The hit is the file of an entry, whose attributes it has. */
function lieInIndex(ov: Overlay, entry: string): void {
  const { hit, frozen, upper } = ov;
  hit.index = entry;
  setKey(hit);
  if (frozen) {
    hit.place = frozen.place;
    hit.layer = ov.keyLayer(frozen.upper);
    return;
  }
  hit.found = Found.Upper;
  hit.layer = upper?.id ?? 0;
}

/** The links of an indexed file to show, when its entry has `nlink`; -errno. */
export const unionLinks = (ov: Overlay, node: number, nlink: number): number =>
  ov.links?.union(ov.table.name(node), nlink) ?? nlink;

/**
 * Gives an indexed file its link at (parent, name), a name its lower file has; there already: 0.
 * The parent is an upper directory marked impure, and keeps its times.
 */
export function linkName(ov: Overlay, node: number, parent: number, name: string): number {
  const { links, sys, table } = ov;
  const { native } = sys;
  if (!links) return -E.EIO;
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const { stats } = sys;
  if (SPOILS) spoil(stats.probe, stats.entry, stats.origin, stats.parent);
  const there = sys.statName(dir, name, stats.probe);
  if (!noName(there)) return there;
  const entry = table.name(node);
  let code = links.stat(entry, stats.entry);
  if (code < 0) return code;
  const { nlink } = stats.entry;
  const union = links.union(entry, nlink);
  if (union < 0) return union;
  const lower = links.lowerLinks(entry);
  if (lower < 0) return lower;
  code = links.setUnion(entry, 'L', union, lower);
  if (code >= 0) code = sys.statFd(dir, stats.parent);
  if (code >= 0) code = native.linkat(links.dir, entry, dir, name, 0);
  if (code < 0) return code;
  setTimes(sys, stats.parent, dir, '', AT_EMPTY_PATH); // best effort, as the kernel's
  ov.dirListings.get(parent)?.copiedUp(name, table.inoLo(node), table.inoHi(node));
  const counted = links.setUnion(entry, 'U', union, nlink + 1);
  // The name is there, and the mark as it is right, until the file gets or loses another (countByUpper).
  if (counted < 0) log(`cannot write the link count of ${entry}: ${errnoName(counted)}`);
  return 0;
}

/**
 * Before an indexed file gets or loses a name: its mark tells the difference from the upper file's link
 * count, which changes with the names (ovl_nlink_start). Returns 0 or -errno.
 */
export function countByUpper(ov: Overlay, node: number): number {
  const { links, sys, table } = ov;
  if (!links || !table.has(node, F_INDEXED)) return 0;
  const entry = table.name(node);
  const byLower = links.countsByLower(entry);
  if (byLower <= 0) return byLower;
  const stat = sys.stats.entry;
  const code = links.stat(entry, stat);
  if (code < 0) return code;
  const { nlink } = stat;
  const union = links.union(entry, nlink);
  return union < 0 ? union : links.setUnion(entry, 'U', union, nlink);
}

/**
 * An indexed file has lost a name. When that was the last one in the union, its entry leaves the
 * index: the file is an orphan while it is in use. A failure leaves an entry that the next mount
 * removes.
 */
export function settleLinks(ov: Overlay, node: number): void {
  const { links, sys, table } = ov;
  if (!links || !table.has(node, F_INDEXED)) return;
  const entry = table.name(node);
  const stat = sys.stats.entry;
  let code = links.stat(entry, stat);
  const { nlink } = stat;
  if (code >= 0) code = links.union(entry, nlink);
  if (code >= 0) {
    if (code > 0) return;
    code = nlink > 1 ? links.setUnion(entry, 'U', nlink - 1, nlink) : endEntry(ov, node, entry);
  }
  if (code < 0) log(`cannot clean the index entry ${entry}: ${errnoName(code)}`);
}

function endEntry(ov: Overlay, node: number, entry: string): number {
  const { links, sys, table } = ov;
  const from = links?.dir ?? -1;
  const code = sys.native.renameat2(from, entry, ov.workDir(), orphanName(node), 0);
  if (code < 0) return code;
  table.detachName(node);
  table.clear(node, F_INDEXED | F_COVERED);
  table.set(node, F_ORPHAN);
  ov.room.orphaned++;
  return 0;
}

/** Puts an object into the index: its entry becomes the node's canonical name. */
export function enterIndex(ov: Overlay, node: number, entry: string): void {
  const { table } = ov;
  table.demoteName(node, table.indexDir, entry, ov.dropped);
  table.clear(node, F_LINKED);
  table.set(node, F_INDEXED);
}

/** A name of the node is only a lower's: the next change must come to the engine, and link it. */
export function coverName(ov: Overlay, node: number): void {
  if (ov.table.has(node, F_COVERED)) return;
  ov.table.set(node, F_COVERED);
  ov.dropFile(node);
}
