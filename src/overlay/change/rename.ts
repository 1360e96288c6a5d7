/**
 * Renames, in three steps:
 * 1. plan: look up both names, and what the lowers have below them;
 * 2. execute: copy up, write marks, make one renameat2 on the upper;
 * 3. commit: change the inode table and the directory listings.
 * A directory that has lowers gets a redirect. With redirect_dir=off it cannot move: EXDEV (ovl_can_move).
 */
import { display } from '../../base/bytes.js';
import { E, errnoName } from '../../base/errno.js';
import { DT_CHR, dtype, S_IFCHR } from '../../base/mode.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from '../../sys/constants.js';
import { carryImpure, copyUp, copyUpMeta } from '../copyUp/copyUp.js';
import { FROM_UPPER } from '../listing/dirListing.js';
import { F_METACOPY, F_UPPER } from '../inodes/record.js';
import type { Caller } from './newObject.js';
import { log } from '../../sys/log.js';
import { orphanName, type Overlay } from '../overlay.js';
import { refusedIn } from '../guard.js';
import { setRedirect } from './redirect.js';
import { checkEmpty, forgetName, ownName } from './remove.js';
import { locate, lowerShows, type NameSlot } from '../lookup/locate.js';
import { clearTarget, NOTHING, type Plan, restoreTarget, undo, WHITEOUT_LEFT } from './replace.js';
import { bringWhole } from './whole.js';
import { announceWhiteouts, dropXWhiteouts, prepareWhiteout, setOpaque } from './whiteouts.js';

const KNOWN = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

/** Who asks, whose the whiteout of RENAME_WHITEOUT is. */
interface Maker {
  creator(umask: number): Caller;
}

/** A name in a directory, as a request says it. */
interface Named {
  readonly parent: number;
  readonly name: string;
}

export function rename(
  ov: Overlay,
  old: Named,
  wanted: Named,
  flags: number,
  maker: Maker,
): number {
  // An exchange leaves neither name.
  const swap = RENAME_EXCHANGE | RENAME_WHITEOUT;
  if ((flags & ~KNOWN) !== 0 || (flags & swap) === swap) return -E.EINVAL;
  const from = locate(ov, old.parent, old.name);
  if (typeof from === 'number') return from;
  const to = locate(ov, wanted.parent, wanted.name);
  if (typeof to === 'number') return to;
  const allowed = check(ov, from, to, flags);
  if (allowed < 0) return allowed;
  // Two names of one file: rename(2) leaves both.
  if (from.node === to.node) return 0;
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  const plan = prepare(ov, from, to, exchange);
  if (typeof plan === 'number') return plan;
  let code: number;
  if (exchange) code = executeExchange(ov, plan);
  else if ((flags & RENAME_WHITEOUT) !== 0) code = moveLeaving(ov, plan, maker);
  else code = executeMove(ov, plan);
  ov.table.release(from.node, ov.dropped);
  if (to.node !== 0) ov.table.release(to.node, ov.dropped);
  return code;
}

function check(ov: Overlay, from: NameSlot, to: NameSlot, flags: number): number {
  if (from.node === 0) return -E.ENOENT;
  const guarded = checkGuards(ov, from, to);
  if (guarded < 0) return guarded;
  if ((flags & RENAME_NOREPLACE) !== 0 && to.node !== 0) return -E.EEXIST;
  if (!canMove(ov, from)) return -E.EXDEV;
  if ((flags & RENAME_EXCHANGE) !== 0) {
    if (to.node === 0) return -E.ENOENT;
    return canMove(ov, to) ? 0 : -E.EXDEV;
  }
  if (to.node === 0) return 0;
  if (from.dir && !to.dir) return -E.ENOTDIR;
  if (!from.dir && to.dir) return -E.EISDIR;
  return to.dir ? checkEmpty(ov, to.node) : 0;
}

/** may_delete of what moves and of what it replaces, may_create of a new name. */
function checkGuards(ov: Overlay, from: NameSlot, to: NameSlot): number {
  const code = refusedIn(ov, from.parent, from.node);
  return code < 0 ? code : refusedIn(ov, to.parent, to.node);
}

function canMove(ov: Overlay, place: NameSlot): boolean {
  if (!place.dir || ov.redirects || ov.plain) return true;
  return ov.table.has(place.node, F_UPPER) && ov.table.lower(place.node) === 0;
}

/** Copy-ups and the marks that must be there before the names change. */
function prepare(ov: Overlay, from: NameSlot, to: NameSlot, exchange: boolean): Plan | number {
  let code = bringWhole(ov, from);
  if (code >= 0 && exchange) code = bringWhole(ov, to);
  if (code >= 0) code = copyUpMeta(ov, from.node);
  if (code >= 0) code = copyUp(ov, to.parent);
  if (code >= 0 && exchange) code = copyUpMeta(ov, to.node);
  else if (code >= 0 && to.node !== 0) code = ownName(ov, to.node);
  if (code < 0) return code;
  const fromDir = ov.upperDir(from.parent);
  if (fromDir < 0) return fromDir;
  const toDir = ov.upperDir(to.parent);
  if (toDir < 0) return toDir;
  const fromShows = lowerShows(ov, from.parent, from.name);
  if (typeof fromShows === 'number') return fromShows;
  const toShows = lowerShows(ov, to.parent, to.name);
  if (typeof toShows === 'number') return toShows;
  if (fromShows && !exchange) code = announceWhiteouts(ov, from.parent, fromDir);
  if (code >= 0 && to.dir && toShows && !exchange) code = announceWhiteouts(ov, to.parent, toDir);
  if (code >= 0) code = markMover(ov, from, to, fromDir, toShows);
  if (code >= 0 && exchange) code = markMover(ov, to, from, toDir, fromShows);
  if (code >= 0) code = carryImpure(ov, from.node, { ...from, dir: fromDir }, to.parent);
  if (code >= 0 && exchange) {
    code = carryImpure(ov, to.node, { ...to, dir: toDir }, from.parent);
  }
  if (code < 0) return code;
  const names = { from, to, exchange, fromDir, toDir, fromShows, toShows };
  return { ...names, cleared: NOTHING, moved: false };
}

/** What `place` must carry to be the same object at `target`: its way to its lowers, or that it has none. */
function markMover(
  ov: Overlay,
  place: NameSlot,
  target: NameSlot,
  dir: number,
  targetShows: boolean,
): number {
  const sameDir = place.parent === target.parent;
  const lowers = place.dir ? hasLowers(ov, place.node) : ov.table.has(place.node, F_METACOPY);
  if (lowers) {
    const code = setRedirect(ov, place.node, sameDir);
    // Where no redirect can say where a file's data is, the data comes along.
    return code === -E.EXDEV && !place.dir ? copyUp(ov, place.node) : code;
  }
  if (!place.dir || !(targetShows || hasLowers(ov, target.parent))) return 0;
  const dropped = dropXWhiteouts(ov, place.node);
  return dropped < 0 ? dropped : setOpaque(ov, dir, place.name);
}

const hasLowers = (ov: Overlay, dir: number): boolean => ov.table.lower(dir) !== 0;

function executeExchange(ov: Overlay, plan: Plan): number {
  const { from, to } = plan;
  const { native } = ov.sys;
  // Deciding.
  const code = native.renameat2(plan.fromDir, from.name, plan.toDir, to.name, RENAME_EXCHANGE);
  if (code >= 0) exchanged(ov, plan);
  return Math.min(code, 0);
}

function exchanged(ov: Overlay, { from, to }: Plan): void {
  moveName(ov, from, to);
  moveName(ov, to, from);
  listName(ov, to, from.node);
  listName(ov, from, to.node);
}

/** `cover`: the object in the workdir that the old name shall have; "" for none. */
function executeMove(ov: Overlay, plan: Plan, cover = ''): number {
  const { from, to } = plan;
  if (from.dir && to.dir && changesPlaces(ov, to.node)) {
    const replaced = replaceDirectory(ov, plan, cover);
    if (replaced !== -E.EINVAL) return replaced;
  }
  const cleared = clearTarget(ov, plan);
  if (cleared < 0) return cleared;
  plan.cleared = cleared;
  const code = moveAndCover(ov, plan, cover, to.whiteout || (to.dir && cleared === WHITEOUT_LEFT));
  if (code < 0 && !plan.moved) {
    restoreTarget(ov, plan);
    return code;
  }
  if (to.node !== 0) {
    if (ov.table.has(to.node, F_UPPER)) forgetName(ov, to.node, to.parent, to.name);
    else ov.table.detachName(to.node);
  }
  moveName(ov, from, to);
  ov.dirListings.get(from.parent)?.remove(from.name);
  listName(ov, to, from.node);
  // Moved, but the old name shows what lies below it, and the caller is told so.
  if (code < 0) ov.dirListings.drop(from.parent);
  return Math.min(code, 0);
}

/** An upper directory that no whiteout files make empty: they need their lowers. */
const changesPlaces = (ov: Overlay, dir: number): boolean =>
  ov.table.has(dir, F_UPPER) && !(ov.work?.xwhiteouts === true && hasLowers(ov, dir));

/**
 * A directory takes the place of an empty upper one: they change places, and what was replaced goes from the
 * old name to the workdir. Whatever fails then, both directories have a name. -EINVAL, and nothing is done,
 * where the file system cannot exchange.
 */
function replaceDirectory(ov: Overlay, plan: Plan, cover: string): number {
  const { from, to, fromDir, toDir, fromShows } = plan;
  const { native } = ov.sys;
  const swap = (): number => native.renameat2(fromDir, from.name, toDir, to.name, RENAME_EXCHANGE);
  // At the old name it would show the lowers of what has moved, after a crash in between.
  const opaque = fromShows ? setOpaque(ov, toDir, to.name) : 0;
  const swapped = opaque < 0 ? opaque : swap();
  if (swapped < 0) return swapped;
  const orphan = orphanName(to.node);
  // Deciding.
  const code =
    cover === ''
      ? (ov.work?.takeAway(fromDir, from.name, orphan, fromShows) ?? -E.EROFS)
      : (ov.work?.swapAway(fromDir, from.name, cover, orphan) ?? -E.EROFS);
  const undone = code < 0 ? swap() : -1;
  if (undone >= 0) return code;
  if (code < 0) {
    log(`a rename of ${display(from.name)} cannot be undone: ${errnoName(undone)}`);
    exchanged(ov, plan);
    return code;
  }
  forgetName(ov, to.node, to.parent, to.name);
  moveName(ov, from, to);
  ov.dirListings.get(from.parent)?.remove(from.name);
  listName(ov, to, from.node);
  return 0;
}

/**
 * RENAME_WHITEOUT: what the name then shows is an object of the union, for an overlay above. It is made
 * ready first and comes to the name in a second step (`moveAndCover`). -EINVAL, as from a file system
 * without the flag, where it cannot be made.
 */
function moveLeaving(ov: Overlay, plan: Plan, maker: Maker): number {
  const { from } = plan;
  const cover = prepareWhiteout(ov, from.parent, S_IFCHR, maker.creator(0));
  if (typeof cover === 'number') return cover === -E.EPERM ? -E.EINVAL : cover;
  const code = executeMove(ov, plan, cover);
  if (code < 0) ov.sys.native.unlinkat(ov.workDir(), cover, 0);
  else ov.dirListings.get(from.parent)?.put(from.name, DT_CHR, FROM_UPPER, -1, 0);
  return code;
}

/**
 * The move, and then, in a second step, `cover` at the old name: after a crash between them that name is
 * absent, and an overlay above shows its lower there, beside what has moved.
 */
function moveAndCover(ov: Overlay, plan: Plan, cover: string, whiteoutThere: boolean): number {
  const moved = moveOver(ov, plan, whiteoutThere);
  if (moved < 0 || cover === '') return moved;
  const { from, fromDir, fromShows } = plan;
  const { native } = ov.sys;
  const code = native.renameat2(ov.workDir(), cover, fromDir, from.name, 0);
  if (code >= 0) return 0;
  undo(ov, plan, fromShows);
  return code;
}

/** The renameat2, which decides. A directory cannot replace a whiteout, so it changes places with it. */
function moveOver(ov: Overlay, plan: Plan, whiteoutThere: boolean): number {
  const { from, to, fromDir, toDir, fromShows } = plan;
  const { native } = ov.sys;
  const { work } = ov;
  if (!work) return -E.EROFS;
  if (from.dir && whiteoutThere) {
    if (!fromShows) return work.replaceWhiteout(fromDir, from.name, toDir, to.name);
    return work.swap(fromDir, from.name, toDir, to.name);
  }
  if (!fromShows) return native.renameat2(fromDir, from.name, toDir, to.name, 0);
  if (work.xwhiteouts) return moveThenCover(ov, plan);
  const code = native.renameat2(fromDir, from.name, toDir, to.name, RENAME_WHITEOUT);
  return code === -E.EINVAL ? moveThenCover(ov, plan) : code;
}

/** Without RENAME_WHITEOUT: the whiteout is made ready first and follows in a second step. */
function moveThenCover(ov: Overlay, plan: Plan): number {
  const { from, to, fromDir, toDir } = plan;
  const { native } = ov.sys;
  const work = ov.workDir();
  const temp = ov.work?.tempName() ?? '';
  const made = ov.work?.whiteout(work, temp) ?? -E.EROFS;
  if (made < 0) return made;
  let code = native.renameat2(fromDir, from.name, toDir, to.name, 0);
  if (code >= 0) {
    code = ov.sys.renameNew(work, temp, fromDir, from.name);
    if (code >= 0) return 0;
    undo(ov, plan, false);
  }
  native.unlinkat(work, temp, 0);
  return code;
}

/** The node at `from` is now known as `to`. */
function moveName(ov: Overlay, from: NameSlot, to: NameSlot): void {
  const { table } = ov;
  if (table.isCanonical(from.node, from.parent, from.name)) {
    table.rename(from.node, to.parent, to.name, ov.dropped);
  } else {
    table.addAlias(from.node, to.parent, to.name);
    table.removeAlias(from.node, from.parent, from.name, ov.dropped);
  }
  // Its ".." is another directory.
  if (from.dir && from.parent !== to.parent) ov.forgetListing(from.node);
}

function listName(ov: Overlay, at: NameSlot, node: number): void {
  const { table } = ov;
  const type = dtype(table.mode(node));
  ov.dirListings
    .get(at.parent)
    ?.put(at.name, type, FROM_UPPER, table.inoLo(node), table.inoHi(node));
}
