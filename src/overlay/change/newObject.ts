/**
 * Decides what a new object is: type and mode, owner, and what it inherits from its directory
 * (inode_init_owner, posix_acl_create).
 */
import { dtype, isDir, isLnk, S_IFMT, S_ISGID, S_ISUID, S_IXGRP } from '../../base/mode.js';
import { noXattr } from '../../layer/absence.js';
import { DEFAULT_ACL } from '../../layer/xattrs.js';
import {
  AT_EMPTY_PATH,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  O_DIRECTORY,
  O_PATH,
  RESOLVE_LAYER,
  STATX_MODE,
} from '../../sys/constants.js';
import type { Stat } from '../../sys/stat.js';
import { XATTR, XATTR_MAX } from '../../sys/sys.js';
import type { Asker } from '../access/attr.js';
import { copyUp } from '../copyUp/copyUp.js';
import { refusedIn } from '../guard.js';
import { F_ACL_DEFAULT, F_ACL_KNOWN, F_UNGUARDED, F_UPPER } from '../inodes/record.js';
import { FROM_UPPER } from '../listing/dirListing.js';
import { xinoHi } from '../lookup/identity.js';
import { NO_ID } from '../shown/ids.js';
import type { Overlay } from '../overlay.js';
import type { Overrides } from '../shown/overrides.js';

/** Who asks: ids as on disk, NO_ID for one that has no meaning; and the process's umask. */
export interface Caller {
  /** The caller has no ID on disk: the overflow ID owns what it makes, and nothing runs with its rights. */
  readonly unmapped: boolean;
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

/** Makes the object, or, where an xattr will say what it is, one that can carry that. */
export function makeObject(
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

/**
 * The kernel sends an ID without a meaning as NO_ID: chown(2) would take it for "leave it to
 * root" (fsuidgid_has_mapping).
 */
export const hasIds = ({ uid, gid }: Caller): boolean => uid !== NO_ID && gid !== NO_ID;

/**
 * The umask does not apply below a default ACL (man 5 acl); symlinks have no mode of their own.
 * The mode, or -errno.
 */
export function maskedMode(ov: Overlay, parent: number, creation: Creation): number {
  const { caller } = creation;
  if (isLnk(creation.mode)) return creation.mode;
  const runs = caller.unmapped && !isDir(creation.mode) ? S_ISUID | S_ISGID : 0;
  const mode = creation.mode & ~runs;
  const acl = hasDefaultAcl(ov, parent);
  if (acl < 0) return acl;
  const masked = acl > 0 ? mode : mode & ~caller.umask;
  const inherits = inheritsRight(ov, parent, masked, caller);
  if (inherits < 0) return inherits;
  return inherits > 0 ? masked : masked & ~S_ISGID;
}

/**
 * 1, or -errno; 0 for a program that would run with a group its maker is not in, but inherits from the
 * directory (mode_strip_sgid; before Linux 6.0 the kernel leaves that to the file system).
 */
function inheritsRight(ov: Overlay, parent: number, mode: number, { asker }: Caller): number {
  const runs = S_ISGID | S_IXGRP;
  if (isDir(mode) || (mode & runs) !== runs || (ov.table.mode(parent) & S_ISGID) === 0) return 1;
  const stat = ov.sys.stats.parent;
  const code = ov.stat(parent, stat);
  if (code < 0) return code;
  return asker.member(stat.gid) || asker.keepsSetIds() ? 1 : 0;
}

/** 1, 0 or -errno. */
function hasDefaultAcl(ov: Overlay, dir: number): number {
  const { table } = ov;
  if (ov.overrides) return 0;
  if (!table.has(dir, F_ACL_KNOWN)) {
    const fd = ov.upperDir(dir);
    const size = fd < 0 ? fd : ov.sys.native.getxattr(fd, '.', DEFAULT_ACL, XATTR, 0);
    if (size < 0 && !noXattr(size)) return size;
    table.set(dir, size > 0 ? F_ACL_KNOWN | F_ACL_DEFAULT : F_ACL_KNOWN);
  }
  return table.has(dir, F_ACL_DEFAULT) ? 1 : 0;
}

/** A name in the directory with this descriptor. */
interface DirName {
  readonly dir: number;
  readonly name: string;
}

/**
 * Owner and set-id bits of an object just made. `gid` -1: the file system has given it the group
 * of a set-group-id directory.
 */
export function own(
  ov: Overlay,
  creation: Creation,
  at: DirName,
  mode: number,
  gid: number,
): number {
  if (ov.overrides) return tellOwner(ov, ov.overrides, creation, at, mode);
  const { dir, name } = at;
  const { native } = ov.sys;
  const { uid } = creation.caller;
  if (uid === ov.uid && (gid === -1 || gid === ov.gid)) return 0;
  const code = native.fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW);
  // chown drops set-id bits of files; a new file gets them back, the rest being as a default ACL says.
  const setIds = mode & (S_ISUID | S_ISGID);
  if (code < 0 || isLnk(mode) || isDir(mode) || setIds === 0) return code;
  const { probe } = ov.sys.stats;
  const known = ov.sys.statName(dir, name, probe, STATX_MODE);
  if (known < 0) return known;
  return native.fchmodat(dir, name, (probe.mode & 0o7777) | setIds);
}

/** What inode_init_owner does, for an object whose owner and mode an xattr tells. */
function tellOwner(
  ov: Overlay,
  overrides: Overrides,
  { parent, caller, major = 0, minor = 0 }: Creation,
  { dir, name }: DirName,
  mode: number,
): number {
  const inherits = (ov.table.mode(parent) & S_ISGID) !== 0;
  const stat = ov.sys.stats.parent;
  const found = inherits ? ov.stat(parent, stat) : 0;
  if (found < 0) return found;
  const gid = inherits ? stat.gid : caller.gid;
  const full = inherits && isDir(mode) ? mode | S_ISGID : mode;
  return overrides.keep(dir, name, { uid: caller.uid, gid, mode: full, major, minor });
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
export function makeStage(ov: Overlay, parent: number, parentDir: number): Stage | number {
  const { native, stats } = ov.sys;
  const work = ov.workDir();
  const temp = ov.work?.tempName() ?? '';
  const acl = hasDefaultAcl(ov, parent) > 0; // known since maskedMode
  const inherits = (ov.table.mode(parent) & S_ISGID) !== 0;
  if ((!acl && !inherits) || ov.overrides)
    return { fd: work, temp, gid: undefined, end: () => undefined };
  let code = ov.sys.statFd(parentDir, stats.parent);
  if (code < 0) return code;
  const { gid } = stats.parent;
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

/** The upper directory that a new name goes to, copied up if need be; -errno, -EPERM where chattr(1) protects it. */
export function upperParent(ov: Overlay, parent: number): number {
  const guarded = refusedIn(ov, parent);
  if (guarded < 0) return guarded;
  const up = copyUp(ov, parent);
  return up < 0 ? up : ov.upperDir(parent);
}

/** Makes an object, no directory, in the workdir as one of `parent` would be. Returns >= 0 or -errno. */
export function makeOrphan(ov: Overlay, creation: Creation): number {
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
    code = own(ov, creation, { dir: stage.fd, name: stage.temp }, mode, stage.gid ?? caller.gid);
    if (code >= 0) code = ov.sys.renameNew(stage.fd, stage.temp, work, name);
    if (code < 0) native.unlinkat(stage.fd, stage.temp, 0);
  }
  stage.end();
  return code;
}

/** Fills `stat` with what a new object of the upper shows. Returns 0 or -errno. */
export function statNew(ov: Overlay, dir: number, name: string, stat: Stat): number {
  const code = ov.sys.statName(dir, name, stat);
  return code < 0 ? code : ov.show(ov.upper?.id ?? 0, dir, name, stat);
}

/** The object of `stat` was renamed since, which is a change of it; what cannot be read stays as it was before. */
export function renewCtime(ov: Overlay, dir: number, name: string, stat: Stat): void {
  const { probe } = ov.sys.stats;
  if (ov.sys.statName(dir, name, probe) >= 0) stat.ctimeFrom(probe);
}

/** The node of a fresh upper object, and its place in the parent's listing. */
export function adopt(ov: Overlay, parent: number, name: string, stat: Stat): number {
  const { table } = ov;
  ov.changed = true;
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
