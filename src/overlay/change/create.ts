/**
 * Creating objects. One choreography for all kinds: the parent is copied up, the object is made in
 * place (the upper's file system applies set-group-id and default ACLs), or, where a whiteout
 * stands at the name, made ready in the workdir and moved over it (ovl_create_upper,
 * ovl_create_over_whiteout).
 */
import { display } from '../../base/bytes.js';
import { E, errnoName } from '../../base/errno.js';
import { dtype, isDir, S_ISGID } from '../../base/mode.js';
import { refusesDevices } from '../../layer/absence.js';
import { makeNested } from '../../layer/whiteout.js';
import { AT_REMOVEDIR } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import type { Stat } from '../../sys/stat.js';
import { XATTR } from '../../sys/sys.js';
import { copyUp } from '../copyUp/copyUp.js';
import { FROM_UPPER } from '../listing/dirListing.js';
import { F_ORPHAN, F_UNGUARDED, F_UNLINKED, F_UPPER } from '../inodes/record.js';
import { xinoHi } from '../lookup/identity.js';
import {
  type Caller,
  type Creation,
  hasIds,
  type Make,
  makeObject,
  makeStage,
  maskedMode,
  own,
} from './newObject.js';
import { orphanName, type Overlay } from '../overlay.js';
import { leave } from '../workdir/workdir.js';
import { refusedIn } from '../guard.js';
import { isUpperWhiteout } from '../lookup/isWhiteout.js';

/** The upper directory that a new name goes to, copied up if need be; -errno, -EPERM where chattr(1) protects it. */
function upperParent(ov: Overlay, parent: number): number {
  const guarded = refusedIn(ov, parent);
  if (guarded < 0) return guarded;
  const up = copyUp(ov, parent);
  return up < 0 ? up : ov.upperDir(parent);
}

/** Creates an object and its node, and fills `stat`. Returns the node or -errno. */
export function create(ov: Overlay, creation: Creation, stat: Stat): number {
  const { parent, name } = creation;
  if (!hasIds(creation.caller)) return -E.EOVERFLOW;
  const dir = upperParent(ov, parent);
  if (dir < 0) return dir;
  const mode = maskedMode(ov, parent, creation);
  if (mode < 0) return mode;
  // Deciding: it is made, with all that belongs to it, or taken away again.
  let code = makeObject(ov, creation, dir, name, mode);
  if (code >= 0) code = finishInPlace(ov, creation, dir, mode, stat);
  else if (code === -E.EEXIST) code = createOverWhiteout(ov, creation, dir, mode, stat);
  return code < 0 ? code : adopt(ov, parent, name, stat);
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

/** Fills `stat` with what a new object of the upper shows. Returns 0 or -errno. */
function statNew(ov: Overlay, dir: number, name: string, stat: Stat): number {
  const code = ov.sys.statName(dir, name, stat);
  return code < 0 ? code : ov.show(ov.upper?.id ?? 0, dir, name, stat);
}

/** The object of `stat` was renamed since, which is a change of it; what cannot be read stays as it was before. */
function renewCtime(ov: Overlay, dir: number, name: string, stat: Stat): void {
  const { probe } = ov.sys.stats;
  if (ov.sys.statName(dir, name, probe) >= 0) stat.ctimeFrom(probe);
}

/**
 * Owner and set-id bits of an object made at its final name; fills `stat`. A failure takes it away
 * again.
 */
function finishInPlace(
  ov: Overlay,
  creation: Creation,
  dir: number,
  mode: number,
  stat: Stat,
): number {
  const { parent, name } = creation;
  const inherits = (ov.table.mode(parent) & S_ISGID) !== 0;
  let code = own(ov, creation, dir, name, mode, inherits ? -1 : creation.caller.gid);
  const opaque = isDir(mode) && ov.lowers.count(ov.table.lower(parent)) > 0;
  // An optimization, allowed to fail: lookups then need not look below (ovl_create_upper).
  if (code >= 0 && opaque) setOpaque(ov, dir, name);
  if (code >= 0) code = statNew(ov, dir, name, stat);
  if (code >= 0) return 0;
  const undone = ov.sys.native.unlinkat(dir, name, isDir(mode) ? AT_REMOVEDIR : 0);
  if (undone < 0) {
    log(`cannot take ${display(name)} away, which was not made whole: ${errnoName(undone)}`);
    ov.dirListings.drop(parent);
  }
  return code;
}

/** Fills `stat`. Returns 0 or -errno. */
function createOverWhiteout(
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
    code = own(ov, creation, at, temp, mode, stage.gid ?? creation.caller.gid);
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

/** Marks an upper directory opaque (ovl_set_opaque). */
export function setOpaque(ov: Overlay, dir: number, name: string): number {
  ov.sys.put('y', XATTR);
  return ov.sys.native.setxattr(dir, name, `${ov.markPrefix}opaque`, XATTR, 1, 0);
}

/** The node of a fresh upper object, and its place in the parent's listing. */
function adopt(ov: Overlay, parent: number, name: string, stat: Stat): number {
  const { table } = ov;
  const { mode, inoLo, inoHi } = stat;
  const layer = ov.upper?.id ?? 0;
  const node = table.create(parent, name, mode);
  table.set(node, F_UPPER | F_UNGUARDED);
  if (!isDir(mode)) table.setKey(node, layer, inoLo, inoHi);
  table.setIno(node, inoLo, xinoHi(ov, layer, inoHi));
  const listing = ov.dirListings.get(parent);
  listing?.put(name, dtype(mode), FROM_UPPER, table.inoLo(node), table.inoHi(node));
  return node;
}

/** O_TMPFILE: an orphan from birth, which LINK may give a name. Fills `stat`. Returns the node or -errno. */
export function createTmpfile(ov: Overlay, creation: Creation, stat: Stat): number {
  const { parent, mode } = creation;
  if (!hasIds(creation.caller)) return -E.EOVERFLOW;
  const guarded = refusedIn(ov, parent);
  if (guarded < 0) return guarded;
  const up = copyUp(ov, parent);
  if (up < 0) return up;
  const node = ov.table.create(parent, '', mode);
  const name = orphanName(node);
  // Deciding: the object in the workdir has no other name, and goes if it cannot be examined.
  let code = makeOrphan(ov, { ...creation, name });
  if (code >= 0) {
    code = statNew(ov, ov.workDir(), name, stat);
    if (code < 0) leave(ov.sys.native.unlinkat(ov.workDir(), name, 0), name);
  }
  if (code < 0) {
    ov.table.release(node, ov.dropped);
    return code;
  }
  const { inoLo, inoHi } = stat;
  const layer = ov.upper?.id ?? 0;
  ov.table.setMode(node, stat.mode);
  ov.table.set(node, F_UPPER | F_UNGUARDED | F_ORPHAN | F_UNLINKED);
  ov.table.setKey(node, layer, inoLo, inoHi);
  ov.table.setIno(node, inoLo, xinoHi(ov, layer, inoHi));
  return node;
}

/** Makes an object, no directory, in the workdir as one of `parent` would be. Returns >= 0 or -errno. */
function makeOrphan(ov: Overlay, creation: Creation): number {
  const { parent, name, caller } = creation;
  const { native } = ov.sys;
  const work = ov.workDir();
  const parentDir = ov.upperDir(parent);
  if (parentDir < 0) return parentDir;
  const mode = maskedMode(ov, parent, creation);
  if (mode < 0) return mode;
  const stage = makeStage(ov, parent, parentDir);
  if (typeof stage === 'number') return stage;
  let code = makeObject(ov, creation, stage.fd, stage.temp, mode);
  if (code >= 0) {
    code = own(ov, creation, stage.fd, stage.temp, mode, stage.gid ?? caller.gid);
    if (code >= 0) code = ov.sys.renameNew(stage.fd, stage.temp, work, name);
    if (code < 0) native.unlinkat(stage.fd, stage.temp, 0);
  }
  stage.end();
  return code;
}
