/**
 * Keeps the object that a rename replaces until the rename is done. Processes may still use it, and a rename
 * that fails puts it back.
 */
import { display } from '../../base/bytes.js';
import { E, errnoName } from '../../base/errno.js';
import { log } from '../../sys/log.js';
import { F_UPPER } from '../inodes/record.js';
import { orphanName, type Overlay } from '../overlay.js';
import { forgetName, isLastName } from './remove.js';
import { type NameSlot } from '../lookup/locate.js';

export interface Plan {
  readonly from: NameSlot;
  readonly to: NameSlot;
  readonly exchange: boolean;
  /** Directory descriptors in the upper. */
  readonly fromDir: number;
  readonly toDir: number;
  /** A lower object shows at the name once the upper has nothing there. */
  readonly fromShows: boolean;
  readonly toShows: boolean;
  /** What `clearTarget` did. */
  cleared: number;
  /** The move stands, although it failed: it could not be undone. */
  moved: boolean;
}

/** What clearTarget did. */
export const NOTHING = 0;
export const WHITEOUT_LEFT = 1;
const ORPHAN_LINKED = 2;
const NAME_FREE = 3;

/**
 * Keeps what is about to be replaced alive for those who still use it: a file gets its orphan name
 * as a second link, so that the rename itself stays one step; an empty directory moves to the
 * workdir, a whiteout in its place. Where whiteouts are files, none stands in a directory that need
 * not announce them: nothing shows below, so the name may be free for a moment.
 */
export function clearTarget(ov: Overlay, plan: Plan): number {
  const { to } = plan;
  const { node, name } = to;
  if (node === 0 || !ov.table.has(node, F_UPPER)) return NOTHING;
  const { native } = ov.sys;
  if (to.dir) {
    const cover = plan.toShows || ov.work?.xwhiteouts !== true;
    const away = ov.work?.takeAway(plan.toDir, name, orphanName(node), cover) ?? -E.EROFS;
    if (away < 0) return away;
    return cover ? WHITEOUT_LEFT : NAME_FREE;
  }
  if (!isLastName(ov, node, to.parent, name)) return NOTHING;
  const linked = native.linkat(plan.toDir, name, ov.workDir(), orphanName(node), 0);
  if (linked >= 0) return ORPHAN_LINKED;
  if (linked !== -E.EMLINK && linked !== -E.EPERM) return linked;
  // No further link possible: the file itself moves away, and the name is free for a moment.
  const away = native.renameat2(plan.toDir, name, ov.workDir(), orphanName(node), 0);
  return away < 0 ? away : NAME_FREE;
}

/** The move did not happen: what `clearTarget` took away comes back. */
export function restoreTarget(ov: Overlay, plan: Plan): void {
  const { to, cleared } = plan;
  if (cleared === ORPHAN_LINKED) ov.work?.removeOrphan(orphanName(to.node), false);
  else if (cleared !== NOTHING) putBack(ov, plan, cleared === WHITEOUT_LEFT);
  plan.cleared = NOTHING;
}

/**
 * Undoes a move, what it replaced included, when the old name does not get what it is to have.
 * `covered`: a whiteout stands there. Where the move itself cannot be undone, `plan.moved` says so.
 */
export function undo(ov: Overlay, plan: Plan, covered: boolean): void {
  const { from, to, fromDir, toDir, cleared } = plan;
  const { native } = ov.sys;
  let code = covered
    ? (ov.work?.swap(toDir, to.name, fromDir, from.name) ?? -E.EROFS)
    : ov.sys.renameNew(toDir, to.name, fromDir, from.name);
  if (code < 0) {
    plan.moved = true;
    log(`a rename of ${display(from.name)} cannot be undone: ${errnoName(code)}`);
    return;
  }
  plan.cleared = NOTHING;
  if (cleared === ORPHAN_LINKED) {
    code = native.renameat2(ov.workDir(), orphanName(to.node), toDir, to.name, 0);
  } else if (cleared !== NOTHING) {
    putBack(ov, plan, covered);
  } else if (covered !== to.whiteout) {
    code = covered
      ? native.unlinkat(toDir, to.name, 0)
      : (ov.work?.whiteout(toDir, to.name) ?? -E.EROFS);
  }
  if (code < 0) lost(ov, to, code);
}

/** Puts a target that was moved away back; `covered`: a whiteout has its name. */
function putBack(ov: Overlay, { to, toDir }: Plan, covered: boolean): void {
  const orphan = orphanName(to.node);
  const code = covered
    ? (ov.work?.replaceWhiteout(ov.workDir(), orphan, toDir, to.name) ?? -E.EROFS)
    : ov.sys.renameNew(ov.workDir(), orphan, toDir, to.name);
  if (code < 0) lost(ov, to, code);
}

/** The target could not be put back. Its name is looked up anew; processes that have it open keep it. */
function lost(ov: Overlay, to: NameSlot, code: number): void {
  log(`cannot put ${display(to.name)} back after a failed rename: ${errnoName(code)}`);
  ov.dirListings.drop(to.parent);
  if (to.node !== 0 && ov.table.has(to.node, F_UPPER)) forgetName(ov, to.node, to.parent, to.name);
}
