/**
 * Lookup: what a name in a directory is, from the upper down through the lowers (ovl_lookup), and
 * the node that stands for it.
 *
 * A node that is not a directory is identified by its real object (layer, inode number), so that
 * hard links share a node; but a lower file with several links will part from them at copy-up
 * (index=off), so in a writable mount each of its names is a node of its own (ovl_hash_bylower).
 * Directories are identified by their name.
 */
import { E } from '../base/errno.js';
import { DT_DIR, dtype, isDir } from '../base/mode.js';
import { statOrigin } from '../layer/origin.js';
import {
  dirMarks,
  hasDotWhiteout,
  isDeviceWhiteout,
  isDotMark,
  isXWhiteout,
} from '../layer/whiteout.js';
import { TRUSTED, USER } from '../layer/xattrs.js';
import { ROOT } from '../protocol/flags.js';
import { STATX } from '../protocol/layout.js';
import { AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS } from '../sys/constants.js';
import { STAT_A, STAT_B, STAT_C } from '../sys/sys.js';
import type { DirIndex } from './dirIndex.js';
import { Found } from './hit.js';
import { F_IMPURE, F_UPPER } from './inodeTable.js';
import type { Overlay } from './overlay.js';

const W_INO = STATX.ino >> 2;

/**
 * Finds `name` in directory `parent`; the result is in `ov.hit`, the topmost object's statx at
 * STAT_A. Returns 0 (also when nothing is found) or -errno.
 */
export function resolve(ov: Overlay, parent: number, name: string): number {
  ov.hit.reset();
  const index = ov.indexes.get(parent);
  let range = EVERYWHERE;
  if (index) {
    const slot = index.slot(name);
    if (slot === undefined) return 0;
    if (index.type(slot) !== DT_DIR) return resolveIndexed(ov, parent, name, index, slot);
    range = { first: index.source(slot) - 1, last: index.last(slot) - 1, indexed: true };
  }
  if (range.first < 0 && ov.table.has(parent, F_UPPER)) {
    const found = resolveUpper(ov, parent, name);
    if (found !== CONTINUE) return found;
  }
  return resolveLowers(ov, parent, name, range);
}

/** Which lowers of the parent's stack are asked. `indexed`: the listing has told, so a miss hides nothing. */
interface Range {
  readonly first: number;
  readonly last: number;
  readonly indexed: boolean;
}
const EVERYWHERE: Range = { first: -1, last: Infinity, indexed: false };

/** What resolveUpper returns when the lowers count too. */
const CONTINUE = 1;

function resolveUpper(ov: Overlay, parent: number, name: string): number {
  const { hit, sys } = ov;
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const code = sys.native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, STAT_A);
  if (code === -E.ENOENT) return CONTINUE;
  if (code < 0) return code;
  if (isDeviceWhiteout(sys, STAT_A)) {
    hit.found = Found.UpperWhiteout;
    return 0;
  }
  hit.found = Found.Upper;
  hit.mode = sys.statMode(STAT_A);
  hit.layer = ov.upper?.id ?? 0;
  if (!isDir(hit.mode)) {
    identifyUpper(ov, parent, dir, name);
    return 0;
  }
  showIno(ov, hit.layer, STAT_A);
  const marks = dirMarks(sys, dir, name, false);
  if (typeof marks === 'number') return marks;
  return marks.opaque ? 0 : CONTINUE;
}

/** Inode number and key of an upper object at STAT_A that is not a directory. */
function identifyUpper(ov: Overlay, parent: number, dir: number, name: string): void {
  const { hit, sys } = ov;
  setKey(ov, STAT_A);
  hit.keyed = true;
  showIno(ov, hit.layer, STAT_A);
  if (!ov.table.has(parent, F_IMPURE)) return;
  const origin = sys.xattr(dir, name, `${ov.markPrefix}origin`);
  const layer = typeof origin === 'string' ? statOrigin(sys, ov.layers, origin) : 0;
  if (layer !== 0) showIno(ov, layer, STAT_C);
}

/** Walks the parent's lowers; an upper directory already found collects its lower directories. */
export function resolveLowers(
  ov: Overlay,
  parent: number,
  name: string,
  range: Range = EVERYWHERE,
): number {
  const { hit, sys, lowers, table } = ov;
  if (isDotMark(name) && hit.found === Found.None) return 0;
  const stack = table.lower(parent);
  const count = lowers.count(stack);
  const end = Math.min(count, range.last + 1);
  for (let i = Math.max(0, range.first); i < end; i++) {
    const place = lowers.place(stack, i);
    const dir = ov.lowerDir(place);
    if (dir < 0) return dir;
    const at = hit.found === Found.None ? STAT_A : STAT_B;
    const code = sys.native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, at);
    if (code === -E.ENOENT) {
      // At the bottom there is nothing left to hide.
      if (!range.indexed && i + 1 < count && hasDotWhiteout(sys, dir, name)) return 0;
      continue;
    }
    if (code < 0) return code;
    if (isDeviceWhiteout(sys, at)) return 0;
    if (lowers.mayHoldXWhiteouts(place) && isXWhiteout(sys, dir, name, at)) return 0;
    if (!isDir(sys.statMode(at))) {
      if (hit.found === Found.None) foundLower(ov, place, i, at);
      return 0;
    }
    const more = addLowerDir(ov, place, i, dir, name, at, i + 1 === end);
    if (more <= 0) return more;
  }
  return 0;
}

/** One more directory of the name: 1 to go on below, 0 at an opaque one, -errno. */
function addLowerDir(
  ov: Overlay,
  place: number,
  index: number,
  dir: number,
  name: string,
  at: number,
  bottom: boolean,
): number {
  const { hit, sys } = ov;
  if (hit.found === Found.None) foundLower(ov, place, index, at);
  else if (hit.parents.length === 0) showIno(ov, ov.lowers.layerOf(place), at);
  // Marks matter for what lies below, and for xwhiteouts, which the parent's mark announces.
  if (bottom && !ov.lowers.mayHoldXWhiteouts(place)) {
    hit.parents.push(place);
    hit.xwhiteouts.push(false);
    return 0;
  }
  const marks = dirMarks(sys, dir, name, true);
  if (typeof marks === 'number') return marks;
  hit.parents.push(place);
  hit.xwhiteouts.push(marks.xwhiteouts);
  return marks.opaque ? 0 : 1;
}

function foundLower(ov: Overlay, place: number, index: number, at: number): void {
  const { hit, sys } = ov;
  hit.found = Found.Lower;
  hit.mode = sys.statMode(at);
  hit.layer = ov.lowers.layerOf(place);
  hit.index = index;
  setKey(ov, at);
  const alone = sys.u32[(at + STATX.nlink) >> 2] === 1 || ov.upper === undefined;
  hit.keyed = !isDir(hit.mode) && alone && sys.statDev(at) === ov.layer(hit.layer).dev;
  showIno(ov, hit.layer, at);
}

/** An entry whose place the index tells: one statx. */
function resolveIndexed(
  ov: Overlay,
  parent: number,
  name: string,
  index: DirIndex,
  slot: number,
): number {
  const { hit, sys, lowers } = ov;
  const source = index.source(slot);
  const place = source === 0 ? 0 : lowers.place(ov.table.lower(parent), source - 1);
  const dir = source === 0 ? ov.upperDir(parent) : ov.lowerDir(place);
  if (dir < 0) return dir;
  const code = sys.native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, STAT_A);
  if (code < 0) return code;
  if (source !== 0) {
    foundLower(ov, place, source - 1, STAT_A);
    return 0;
  }
  hit.found = Found.Upper;
  hit.mode = sys.statMode(STAT_A);
  hit.layer = ov.upper?.id ?? 0;
  identifyUpper(ov, parent, dir, name);
  return 0;
}

function setKey(ov: Overlay, at: number): void {
  ov.hit.keyLo = ov.sys.u32[(at >> 2) + W_INO];
  ov.hit.keyHi = ov.sys.u32[(at >> 2) + W_INO + 1];
}

/** The inode number an object of `layer` is shown with: its own, with the file system's number on top when there are several. */
function showIno(ov: Overlay, layer: number, at: number): void {
  const { hit, sys } = ov;
  hit.inoLo = sys.u32[(at >> 2) + W_INO];
  hit.inoHi = xinoHi(ov, layer, sys.u32[(at >> 2) + W_INO + 1]);
}

/** Eight high bits carry the file system's number, where the inode number leaves them free. */
export function xinoHi(ov: Overlay, layer: number, hi: number): number {
  const fsid = ov.xino?.get(layer) ?? 0;
  return hi < 0x100_0000 ? (hi | (fsid << 24)) >>> 0 : hi;
}

/** The node of what `ov.hit` shows under (parent, name), made when it is new. Its lookup count is not raised. */
export function nodeOfHit(ov: Overlay, parent: number, name: string): number {
  const { hit, table } = ov;
  const named = table.byName(parent, name);
  if (named !== 0) return named;
  if (hit.keyed) {
    const keyed = table.byKey(hit.layer, hit.keyLo, hit.keyHi);
    if (keyed !== 0) {
      table.addAlias(keyed, parent, name);
      return keyed;
    }
  }
  const node = table.create(parent, name, hit.mode);
  table.setIno(node, hit.inoLo, hit.inoHi);
  if (hit.keyed) table.setKey(node, hit.layer, hit.keyLo, hit.keyHi);
  if (hit.found === Found.Upper) table.set(node, F_UPPER);
  if (isDir(hit.mode)) {
    table.setLower(node, stackOfHit(ov, name));
    if (hit.found === Found.Upper && isImpure(ov, node)) table.set(node, F_IMPURE);
  } else if (hit.found === Found.Lower) {
    const place = ov.lowers.place(table.lower(parent), hit.index);
    ov.lowers.hold(place);
    table.setLower(node, place);
  }
  return node;
}

function stackOfHit(ov: Overlay, name: string): number {
  const { hit, lowers } = ov;
  const places = hit.parents.map((parent, i) =>
    lowers.addPlace(lowers.layerOf(parent), parent, name, hit.xwhiteouts[i]),
  );
  return lowers.addStack(places);
}

/** The upper directory is marked as one that holds copied-up entries. */
export function isImpure(ov: Overlay, node: number): boolean {
  const dir = ov.upperDir(node);
  if (dir < 0) return false;
  const { native } = ov.sys;
  return [TRUSTED, USER].some((prefix) => native.getxattr(dir, '.', `${prefix}impure`, 0, 0) >= 0);
}

/** d_type of a node. */
export const typeOf = (ov: Overlay, node: number): number => dtype(ov.table.mode(node));

/** The lookup of ".." that a dirent of `node` shows. */
export const parentOf = (ov: Overlay, node: number): number =>
  node === ROOT ? ROOT : ov.table.parent(node);
