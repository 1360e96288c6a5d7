/**
 * Writes the marks that hide lower objects: whiteouts and opaque directories.
 *
 * - `coverLower`: a lower's name is removed. A rename and the removal of an upper object leave their
 *   whiteouts in the same step as the move (rename.ts, Workdir.takeAway).
 * - `createOverWhiteout`: an object is made at a name that has a whiteout.
 * - `createWhiteout`, `prepareWhiteout`: a client makes a whiteout, for an overlay above this one.
 * - `announceWhiteouts`, `dropXWhiteouts`: where whiteouts are files, their directory carries a mark.
 *
 * `Workdir.whiteout` makes the device or file itself; layer/whiteout.ts defines its form.
 */
import { E } from '../../base/errno.js';
import { DT_REG, isDir } from '../../base/mode.js';
import { noName, refusesDevices, vanished } from '../../layer/absence.js';
import { readEntries } from '../../layer/directory.js';
import { isXWhiteout, makeNested } from '../../layer/whiteout.js';
import { AT_REMOVEDIR } from '../../sys/constants.js';
import type { Stat } from '../../sys/stat.js';
import { XATTR } from '../../sys/sys.js';
import { F_XWHITEOUTS } from '../inodes/record.js';
import { isUpperWhiteout } from '../lookup/isWhiteout.js';
import type { Overlay } from '../overlay.js';
import {
  adopt,
  type Caller,
  type Creation,
  hasIds,
  type Make,
  makeObject,
  makeOrphan,
  makeStage,
  own,
  renewCtime,
  statNew,
  upperParent,
} from './newObject.js';

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

/** Puts a whiteout at `name` in `dir`, the upper directory of node `parent`: it has nothing there. 0 or -errno. */
export function coverLower(ov: Overlay, parent: number, dir: number, name: string): number {
  const announced = announceWhiteouts(ov, parent, dir);
  return announced < 0 ? announced : (ov.work?.whiteout(dir, name) ?? -E.EROFS);
}

/** Marks an upper directory opaque (ovl_set_opaque). */
export function setOpaque(ov: Overlay, dir: number, name: string): number {
  ov.sys.put('y', XATTR);
  return ov.sys.native.setxattr(dir, name, `${ov.markPrefix}opaque`, XATTR, 1, 0);
}

/** Makes an object where a whiteout stands, which it replaces in one step. Fills `stat`. Returns 0 or -errno. */
export function createOverWhiteout(
  ov: Overlay,
  creation: Creation,
  dir: number,
  mode: number,
  stat: Stat,
): number {
  const { native, stats } = ov.sys;
  const { name } = creation;
  const found = ov.sys.statName(dir, name, stats.probe);
  if (found < 0) return found;
  const there = isUpperWhiteout(ov, creation.parent, dir, name, stats.probe);
  if (there <= 0) return there < 0 ? there : -E.EEXIST;
  const stage = makeStage(ov, creation.parent, dir);
  if (typeof stage === 'number') return stage;
  const { fd: at, temp } = stage;
  let code = makeObject(ov, creation, at, temp, mode);
  if (code >= 0) {
    code = own(ov, creation, { dir: at, name: temp }, mode, stage.gid ?? creation.caller.gid);
    if (code >= 0 && isDir(mode)) code = setOpaque(ov, at, temp);
    if (code >= 0) code = statNew(ov, at, temp, stat);
    // Deciding.
    if (code >= 0) code = ov.work?.replaceWhiteout(at, temp, dir, name) ?? -E.EROFS;
    if (code < 0) native.unlinkat(at, temp, isDir(mode) ? AT_REMOVEDIR : 0);
  }
  stage.end();
  if (code >= 0) renewCtime(ov, dir, name, stat);
  return code;
}

/**
 * Makes what an overlay above takes for a whiteout (vfs_whiteout): the device is made ready in the
 * workdir, as it is one only with its mark. Fills `stat`; returns the node or -errno, -EPERM where the
 * upper can have none such.
 */
export function createWhiteout(ov: Overlay, creation: Omit<Creation, 'make'>, stat: Stat): number {
  const { parent, name, mode, caller } = creation;
  const dir = upperParent(ov, parent);
  if (dir < 0) return dir;
  const temp = prepareWhiteout(ov, parent, mode, caller);
  if (typeof temp === 'number') return temp;
  const work = ov.workDir();
  const { native, stats } = ov.sys;
  let code = statNew(ov, work, temp, stat);
  // Deciding: the rename to the name, or over the whiteout there.
  if (code >= 0) code = ov.sys.renameNew(work, temp, dir, name);
  if (code === -E.EEXIST) {
    const found = ov.sys.statName(dir, name, stats.probe);
    const there = found < 0 ? found : isUpperWhiteout(ov, parent, dir, name, stats.probe);
    if (there < 0) code = there;
    else if (there > 0) code = native.renameat2(work, temp, dir, name, 0);
  }
  if (code < 0) {
    native.unlinkat(work, temp, 0);
    return code;
  }
  renewCtime(ov, dir, name, stat);
  return adopt(ov, parent, name, stat);
}

/**
 * Makes a client's whiteout in the workdir as one of `parent` would be. Returns its name there, or -errno:
 * -EPERM where there is no right to make it, or owner and type are told by an xattr that it cannot have.
 */
export function prepareWhiteout(
  ov: Overlay,
  parent: number,
  mode: number,
  caller: Caller,
): string | number {
  if (!hasIds(caller)) return -E.EOVERFLOW;
  if (ov.overrides || ov.work?.xwhiteouts === true) return -E.EPERM;
  const name = ov.work?.tempName() ?? '';
  const make: Make = (dir, at, masked) => makeNested(ov.sys, dir, at, masked);
  const code = makeOrphan(ov, { parent, name, mode, caller, make });
  if (code >= 0) return name;
  return refusesDevices(code) ? -E.EPERM : code;
}
