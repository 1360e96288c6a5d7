/**
 * Creating objects. One choreography for all kinds: the parent is copied up, the object is made in
 * place (the upper's file system applies set-group-id and default ACLs), or, where a whiteout
 * stands at the name, made ready in the workdir and moved over it (ovl_create_upper,
 * ovl_create_over_whiteout).
 */
import { E } from '../base/errno.js';
import { dtype, isDir, isLnk, S_IFMT, S_ISGID, S_ISUID, S_IXGRP } from '../base/mode.js';
import { makeNested, refusesDevices } from '../layer/whiteout.js';
import { STATX } from '../protocol/layout.js';
import {
  AT_EMPTY_PATH,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  O_DIRECTORY,
  O_PATH,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RESOLVE_LAYER,
  STATX_BASIC_STATS,
  STATX_MODE,
} from '../sys/constants.js';
import { STAT_A, STAT_B, XATTR, XATTR_MAX } from '../sys/sys.js';
import type { Asker } from './attr.js';
import { copyUp } from './copyUp.js';
import { FROM_UPPER } from './dirIndex.js';
import {
  F_ACL_DEFAULT,
  F_ACL_KNOWN,
  F_ORPHAN,
  F_UNGUARDED,
  F_UNLINKED,
  F_UPPER,
} from './inodeTable.js';
import { xinoHi } from './identity.js';
import { NO_ID } from './ids.js';
import { orphanName, type Overlay } from './overlay.js';
import type { Overrides } from './overrides.js';
import { refusedIn } from './protect.js';
import { isUpperWhiteout } from './whiteouts.js';

const DEFAULT_ACL = 'system.posix_acl_default';

/** Who asks: ids as on disk, NO_ID for one that has none there; and the process's umask. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly umask: number;
  readonly asker: Asker;
}

/** Makes the object at a free name with mode `mode`; returns >= 0 or -errno. */
export type Make = (dirfd: number, name: string, mode: number) => number;

export interface Creation {
  readonly parent: number;
  readonly name: string;
  /** Type and permissions as asked for. */
  readonly mode: number;
  readonly caller: Caller;
  readonly make: Make;
  /** A device's number; absent for other kinds. */
  readonly major?: number;
  readonly minor?: number;
}

/** Creates an object and its node; its statx is at STAT_A. Returns the node or -errno. */
export function create(ov: Overlay, creation: Creation): number {
  const { parent, name } = creation;
  if (!hasIds(creation.caller)) return -E.EOVERFLOW;
  const guarded = refusedIn(ov, parent);
  if (guarded < 0) return guarded;
  const up = copyUp(ov, parent);
  if (up < 0) return up;
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const mode = maskedMode(ov, parent, creation);
  let opaque = false;
  let code = makeObject(ov, creation, dir, name, mode);
  if (code >= 0) {
    code = finishInPlace(ov, creation, dir, mode);
    opaque = isDir(mode) && ov.lowers.count(ov.table.lower(parent)) > 0;
    // An optimization, allowed to fail: lookups then need not look below (ovl_create_upper).
    if (code >= 0 && opaque) setOpaque(ov, dir, name);
  } else if (code === -E.EEXIST) {
    code = createOverWhiteout(ov, creation, dir, mode);
  }
  if (code >= 0) {
    code = statNew(ov, dir, name);
  }
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
  const guarded = refusedIn(ov, parent);
  if (guarded < 0) return guarded;
  const up = copyUp(ov, parent);
  if (up < 0) return up;
  const dir = ov.upperDir(parent);
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

/** Makes the object, or, where an xattr will say what it is, one that can carry that. */
function makeObject(
  ov: Overlay,
  creation: Creation,
  dir: number,
  name: string,
  mode: number,
): number {
  if (!ov.overrides || isLnk(mode)) return creation.make(dir, name, mode);
  const kept = ov.overrides.diskMode(mode);
  if (((kept ^ mode) & S_IFMT) === 0) return creation.make(dir, name, kept);
  return ov.sys.native.mknodat(dir, name, kept, 0, 0);
}

/** An object must have an owner on disk: chown(2) would take NO_ID for "leave it to root" (fsuidgid_has_mapping). */
const hasIds = ({ uid, gid }: Caller): boolean => uid !== NO_ID && gid !== NO_ID;

/** The umask does not apply below a default ACL (man 5 acl); symlinks have no mode of their own. */
function maskedMode(ov: Overlay, parent: number, creation: Creation): number {
  const { mode, caller } = creation;
  if (isLnk(mode)) return mode;
  const masked = hasDefaultAcl(ov, parent) ? mode : mode & ~caller.umask;
  return inheritsRight(ov, parent, masked, caller) ? masked : masked & ~S_ISGID;
}

/**
 * False for a program that would run with a group its maker is not in, but inherits from the
 * directory (mode_strip_sgid; before Linux 6.0 the kernel leaves that to the file system).
 */
function inheritsRight(ov: Overlay, parent: number, mode: number, { asker }: Caller): boolean {
  const runs = S_ISGID | S_IXGRP;
  if (isDir(mode) || (mode & runs) !== runs || (ov.table.mode(parent) & S_ISGID) === 0) return true;
  if (ov.stat(parent, STAT_B) < 0) return false;
  return asker.member(ov.sys.u32[(STAT_B + STATX.gid) >> 2]) || asker.keepsSetIds();
}

function hasDefaultAcl(ov: Overlay, dir: number): boolean {
  const { table } = ov;
  if (ov.overrides) return false;
  if (!table.has(dir, F_ACL_KNOWN)) {
    const fd = ov.upperDir(dir);
    const found = fd >= 0 && ov.sys.native.getxattr(fd, '.', DEFAULT_ACL, XATTR, 0) > 0;
    table.set(dir, found ? F_ACL_KNOWN | F_ACL_DEFAULT : F_ACL_KNOWN);
  }
  return table.has(dir, F_ACL_DEFAULT);
}

/** Owner and set-id bits of an object made at its final name. A failure takes it away again. */
function finishInPlace(ov: Overlay, creation: Creation, dir: number, mode: number): number {
  const { name } = creation;
  const inherits = (ov.table.mode(creation.parent) & S_ISGID) !== 0;
  const code = own(ov, creation, dir, name, mode, inherits ? -1 : creation.caller.gid);
  if (code < 0) ov.sys.native.unlinkat(dir, name, isDir(mode) ? AT_REMOVEDIR : 0);
  return code;
}

/** `gid` -1: the file system has given it the group of a set-group-id directory. */
function own(
  ov: Overlay,
  creation: Creation,
  dir: number,
  name: string,
  mode: number,
  gid: number,
): number {
  if (ov.overrides) return tellOwner(ov, ov.overrides, creation, dir, name, mode);
  const { native } = ov.sys;
  const { uid } = creation.caller;
  if (uid === ov.uid && (gid === -1 || gid === ov.gid)) return 0;
  const code = native.fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW);
  // chown drops set-id bits of files; a new file gets them back, the rest being as a default ACL says.
  const setIds = mode & (S_ISUID | S_ISGID);
  if (code < 0 || isLnk(mode) || isDir(mode) || setIds === 0) return code;
  const known = native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_MODE, STAT_B);
  if (known < 0) return known;
  return native.fchmodat(dir, name, (ov.sys.statMode(STAT_B) & 0o7777) | setIds);
}

/** What inode_init_owner does, for an object whose owner and mode an xattr tells. */
function tellOwner(
  ov: Overlay,
  overrides: Overrides,
  { parent, caller, major = 0, minor = 0 }: Creation,
  dir: number,
  name: string,
  mode: number,
): number {
  const inherits = (ov.table.mode(parent) & S_ISGID) !== 0;
  const found = inherits ? ov.stat(parent, STAT_B) : 0;
  if (found < 0) return found;
  const gid = inherits ? ov.sys.u32[(STAT_B + STATX.gid) >> 2] : caller.gid;
  const full = inherits && isDir(mode) ? mode | S_ISGID : mode;
  return overrides.keep(dir, name, { uid: caller.uid, gid, mode: full, major, minor });
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

/** Where an object is made ready. `gid`: the group it inherits from a set-group-id parent. */
interface Stage {
  readonly fd: number;
  readonly temp: string;
  readonly gid: number | undefined;
  readonly end: () => void;
}

/**
 * The workdir itself, or, below a parent that passes on a group or a default ACL, a directory in
 * the workdir that passes on the same: the file system then applies both exactly.
 */
function makeStage(ov: Overlay, parent: number, parentDir: number): Stage | number {
  const { native, u32 } = ov.sys;
  const work = ov.workDir();
  const temp = ov.work?.tempName() ?? '';
  const acl = hasDefaultAcl(ov, parent);
  const inherits = (ov.table.mode(parent) & S_ISGID) !== 0;
  if ((!acl && !inherits) || ov.overrides)
    return { fd: work, temp, gid: undefined, end: () => undefined };
  let code = native.statx(parentDir, '', AT_EMPTY_PATH, STATX_BASIC_STATS, STAT_B);
  if (code < 0) return code;
  const gid = u32[(STAT_B + STATX.gid) >> 2];
  const stage = ov.work?.tempName() ?? '';
  code = native.mkdirat(work, stage, 0o700);
  if (code < 0) return code;
  const end = (): void => {
    native.unlinkat(work, stage, AT_REMOVEDIR);
  };
  const fd = ov.sys.open(work, stage, O_PATH | O_DIRECTORY, 0, RESOLVE_LAYER);
  code = fd < 0 ? fd : native.fchownat(fd, '', -1, inherits ? gid : -1, AT_EMPTY_PATH);
  if (code >= 0 && inherits) code = native.fchmodat(work, stage, 0o2700);
  if (code >= 0 && acl) code = copyDefaultAcl(ov, parentDir, fd);
  if (code < 0) {
    if (fd >= 0) native.close(fd);
    end();
    return code;
  }
  const finish = (): void => {
    native.close(fd);
    end();
  };
  return { fd, temp, gid: inherits ? gid : undefined, end: finish };
}

function copyDefaultAcl(ov: Overlay, from: number, to: number): number {
  const { native } = ov.sys;
  const size = native.getxattr(from, '.', DEFAULT_ACL, XATTR, XATTR_MAX);
  return size < 0 ? size : native.setxattr(to, '.', DEFAULT_ACL, XATTR, size, 0);
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

/** The node of a fresh upper object whose statx is at STAT_A, and its place in the parent's index. */
function adopt(ov: Overlay, parent: number, name: string): number {
  const { sys, table } = ov;
  const mode = sys.statMode(STAT_A);
  const w = (STAT_A + STATX.ino) >> 2;
  const layer = ov.upper?.id ?? 0;
  const node = table.create(parent, name, mode);
  table.set(node, F_UPPER | F_UNGUARDED);
  if (!isDir(mode)) table.setKey(node, layer, sys.u32[w], sys.u32[w + 1]);
  table.setIno(node, sys.u32[w], xinoHi(ov, layer, sys.u32[w + 1]));
  const index = ov.indexes.get(parent);
  index?.put(name, dtype(mode), FROM_UPPER, table.inoLo(node), table.inoHi(node));
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
