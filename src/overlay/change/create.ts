/**
 * Creating objects. One choreography for all kinds: the parent is copied up, the object is made in
 * place (the upper's file system applies set-group-id and default ACLs), or, where a whiteout
 * stands at the name, made ready in the workdir and moved over it (ovl_create_upper,
 * ovl_create_over_whiteout).
 */
import { E } from '../../base/errno.js';
import { dtype, isDir, S_ISGID } from '../../base/mode.js';
import { makeNested, refusesDevices } from '../../layer/whiteout.js';
import { STATX } from '../../protocol/layout.js';
import {
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  STATX_BASIC_STATS,
} from '../../sys/constants.js';
import { STAT_A, STAT_B, XATTR } from '../../sys/sys.js';
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
import { refusedIn } from '../guard.js';
import { isUpperWhiteout } from '../lookup/isWhiteout.js';

/** The upper directory that a new name goes to, copied up if need be; -errno, -EPERM where chattr(1) protects it. */
function upperParent(ov: Overlay, parent: number): number {
  const guarded = refusedIn(ov, parent);
  if (guarded < 0) return guarded;
  const up = copyUp(ov, parent);
  return up < 0 ? up : ov.upperDir(parent);
}

/** Creates an object and its node; its statx is at STAT_A. Returns the node or -errno. */
export function create(ov: Overlay, creation: Creation): number {
  const { parent, name } = creation;
  if (!hasIds(creation.caller)) return -E.EOVERFLOW;
  const dir = upperParent(ov, parent);
  if (dir < 0) return dir;
  const mode = maskedMode(ov, parent, creation);
  let code = makeObject(ov, creation, dir, name, mode);
  if (code >= 0) {
    code = finishInPlace(ov, creation, dir, mode);
    const opaque = isDir(mode) && ov.lowers.count(ov.table.lower(parent)) > 0;
    // An optimization, allowed to fail: lookups then need not look below (ovl_create_upper).
    if (code >= 0 && opaque) setOpaque(ov, dir, name);
  } else if (code === -E.EEXIST) {
    code = createOverWhiteout(ov, creation, dir, mode);
  }
  if (code >= 0) code = statNew(ov, dir, name);
  return code < 0 ? code : adopt(ov, parent, name);
}

/**
 * Makes what an overlay above takes for a whiteout (vfs_whiteout): the device is made ready in the
 * workdir, as it is one only with its mark. Its statx is at STAT_A; returns the node or -errno, -EPERM
 * where the upper can have none such.
 */
export function createWhiteout(
  ov: Overlay,
  parent: number,
  name: string,
  mode: number,
  caller: Caller,
): number {
  const dir = upperParent(ov, parent);
  if (dir < 0) return dir;
  const temp = prepareWhiteout(ov, parent, mode, caller);
  if (typeof temp === 'number') return temp;
  const work = ov.workDir();
  const { native } = ov.sys;
  let code = native.renameat2(work, temp, dir, name, RENAME_NOREPLACE);
  if (code === -E.EEXIST) {
    const found = native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, STAT_B);
    if (found < 0) code = found;
    else if (isUpperWhiteout(ov, parent, dir, name, STAT_B)) {
      code = native.renameat2(work, temp, dir, name, 0);
    }
  }
  if (code < 0) native.unlinkat(work, temp, 0);
  else code = statNew(ov, dir, name);
  return code < 0 ? code : adopt(ov, parent, name);
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

/** The statx of a new object of the upper, at STAT_A. */
function statNew(ov: Overlay, dir: number, name: string): number {
  const code = ov.sys.native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, STAT_A);
  return code < 0 ? code : ov.show(ov.upper?.id ?? 0, dir, name, STAT_A);
}

/** Owner and set-id bits of an object made at its final name. A failure takes it away again. */
function finishInPlace(ov: Overlay, creation: Creation, dir: number, mode: number): number {
  const { name } = creation;
  const inherits = (ov.table.mode(creation.parent) & S_ISGID) !== 0;
  const code = own(ov, creation, dir, name, mode, inherits ? -1 : creation.caller.gid);
  if (code < 0) ov.sys.native.unlinkat(dir, name, isDir(mode) ? AT_REMOVEDIR : 0);
  return code;
}

function createOverWhiteout(ov: Overlay, creation: Creation, dir: number, mode: number): number {
  const { native } = ov.sys;
  const { name } = creation;
  const found = native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, STAT_B);
  if (found < 0) return found;
  if (!isUpperWhiteout(ov, creation.parent, dir, name, STAT_B)) return -E.EEXIST;
  const stage = makeStage(ov, creation.parent, dir);
  if (typeof stage === 'number') return stage;
  const { fd: at, temp } = stage;
  let code = makeObject(ov, creation, at, temp, mode);
  if (code >= 0) {
    code = own(ov, creation, at, temp, mode, stage.gid ?? creation.caller.gid);
    if (code >= 0 && isDir(mode)) code = setOpaque(ov, at, temp);
    if (code >= 0) code = replaceWhiteout(ov, at, temp, dir, name, isDir(mode));
    if (code < 0) native.unlinkat(at, temp, isDir(mode) ? AT_REMOVEDIR : 0);
  }
  stage.end();
  return code;
}

/** Moves a finished object over the whiteout at `name`: a directory cannot replace a file, so they change places. */
function replaceWhiteout(
  ov: Overlay,
  from: number,
  temp: string,
  dir: number,
  name: string,
  asDir: boolean,
): number {
  const { native } = ov.sys;
  if (!asDir) return native.renameat2(from, temp, dir, name, 0);
  const code = native.renameat2(from, temp, dir, name, RENAME_EXCHANGE);
  return code < 0 ? code : native.unlinkat(from, temp, 0);
}

/** Marks an upper directory opaque (ovl_set_opaque). */
export function setOpaque(ov: Overlay, dir: number, name: string): number {
  ov.sys.put('y', XATTR);
  return ov.sys.native.setxattr(dir, name, `${ov.markPrefix}opaque`, XATTR, 1, 0);
}

/** The node of a fresh upper object whose statx is at STAT_A, and its place in the parent's listing. */
function adopt(ov: Overlay, parent: number, name: string): number {
  const { sys, table } = ov;
  const mode = sys.statMode(STAT_A);
  const w = (STAT_A + STATX.ino) >> 2;
  const layer = ov.upper?.id ?? 0;
  const node = table.create(parent, name, mode);
  table.set(node, F_UPPER | F_UNGUARDED);
  if (!isDir(mode)) table.setKey(node, layer, sys.u32[w], sys.u32[w + 1]);
  table.setIno(node, sys.u32[w], xinoHi(ov, layer, sys.u32[w + 1]));
  const listing = ov.dirListings.get(parent);
  listing?.put(name, dtype(mode), FROM_UPPER, table.inoLo(node), table.inoHi(node));
  return node;
}

/** O_TMPFILE: an orphan from birth, which LINK may give a name. Returns the node or -errno. */
export function createTmpfile(
  ov: Overlay,
  parent: number,
  mode: number,
  caller: Caller,
  make: Make,
): number {
  if (!hasIds(caller)) return -E.EOVERFLOW;
  const guarded = refusedIn(ov, parent);
  if (guarded < 0) return guarded;
  const up = copyUp(ov, parent);
  if (up < 0) return up;
  const node = ov.table.create(parent, '', mode);
  const code = makeOrphan(ov, { parent, name: orphanName(node), mode, caller, make });
  if (code < 0) {
    ov.table.release(node, ov.dropped);
    return code;
  }
  const w = (STAT_A + STATX.ino) >> 2;
  const layer = ov.upper?.id ?? 0;
  ov.table.setMode(node, ov.sys.statMode(STAT_A));
  ov.table.set(node, F_UPPER | F_UNGUARDED | F_ORPHAN | F_UNLINKED);
  ov.table.setKey(node, layer, ov.sys.u32[w], ov.sys.u32[w + 1]);
  ov.table.setIno(node, ov.sys.u32[w], xinoHi(ov, layer, ov.sys.u32[w + 1]));
  return node;
}

/** Makes an object, no directory, in the workdir as one of `parent` would be; its statx is at STAT_A. */
function makeOrphan(ov: Overlay, creation: Creation): number {
  const { parent, name, caller } = creation;
  const { native } = ov.sys;
  const work = ov.workDir();
  const parentDir = ov.upperDir(parent);
  if (parentDir < 0) return parentDir;
  const mode = maskedMode(ov, parent, creation);
  const stage = makeStage(ov, parent, parentDir);
  if (typeof stage === 'number') return stage;
  let code = makeObject(ov, creation, stage.fd, stage.temp, mode);
  if (code >= 0) {
    code = own(ov, creation, stage.fd, stage.temp, mode, stage.gid ?? caller.gid);
    if (code >= 0) code = native.renameat2(stage.fd, stage.temp, work, name, RENAME_NOREPLACE);
    if (code < 0) native.unlinkat(stage.fd, stage.temp, 0);
  }
  stage.end();
  if (code < 0) return code;
  code = statNew(ov, work, name);
  if (code < 0) native.unlinkat(work, name, 0);
  return code;
}
