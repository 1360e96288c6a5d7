/** Attributes: what stat shows of a node, and SETATTR. */
import { E, errnoName } from '../../base/errno.js';
import { isDir, isLnk, isReg, S_IFMT, S_ISGID, S_ISUID, S_IXGRP } from '../../base/mode.js';
import { noXattr } from '../../layer/absence.js';
import { CAPABILITY } from '../../layer/xattrs.js';
import { Fattr } from '../../protocol/flags.js';
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, UTIME_NOW, UTIME_OMIT } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import type { Stat } from '../../sys/stat.js';
import { XATTR } from '../../sys/sys.js';
import { beforeChange, remember } from '../answer.js';
import { copyUp, copyUpMeta } from '../copyUp/copyUp.js';
import { CUT } from '../copyUp/source.js';
import { EXTENT_LEAST } from '../data/extent.js';
import { dataFile, hidesCapability } from './files.js';
import { F_INDEXED, F_ORPHAN, F_UNLINKED, F_UPPER } from '../inodes/record.js';
import { unionLinks } from '../lookup/hardLinks.js';
import type { Overlay } from '../overlay.js';
import { modeAfterChown, type Overrides } from '../shown/overrides.js';
import { APPEND, IMMUTABLE, refused } from '../guard.js';

/**
 * The link count to show for `node`, whose attributes are in `stat`. A merged directory shows 1: counting
 * its subdirectories is not worth it, and find takes 1 for "unknown" (ovl_getattr). The name an
 * orphan has in the workdir does not count. -errno when the mark on an indexed file cannot be read.
 * Overwrites the view `origin`.
 */
export function shownNlink(ov: Overlay, node: number, { nlink, mode }: Stat): number {
  const { table } = ov;
  if (!isDir(mode)) {
    if (table.has(node, F_ORPHAN)) return Math.max(0, nlink - 1);
    if (table.has(node, F_INDEXED)) return unionLinks(ov, node, nlink);
    // The links that a removed lower file has there are no links of this one.
    return table.has(node, F_UNLINKED) ? 0 : nlink;
  }
  if (ov.isGone(node)) return 0;
  const lowers = ov.lowers.count(table.lower(node));
  const merged = table.has(node, F_UPPER) ? lowers > 0 : lowers > 1;
  return merged ? 1 : nlink;
}

/** Who asks, as far as it decides something. Asked only where it does: the answers are costly. */
export interface Asker {
  /** In group `gid`, an ID as on disk. */
  member(gid: number): boolean;
  /** Has CAP_FSETID. */
  keepsSetIds(): boolean;
  /** trusted.* is listed for it. */
  seesTrusted(): boolean;
}

/** The fields of a SETATTR request. Seconds are signed; `size` as halves of an unsigned 64-bit number. */
export interface AttrChange {
  valid: number;
  sizeLo: number;
  sizeHi: number;
  atime: number;
  atimeNsec: number;
  mtime: number;
  mtimeNsec: number;
  /** The mtime is the ctime that comes with it: with the writeback cache the kernel says so for "now". */
  touched: boolean;
  mode: number;
  /** As on disk. */
  uid: number;
  gid: number;
  caller: Asker;
  /** The request before it took away the capability of the file. */
  uncapped: boolean;
}

const CHANGES =
  Fattr.MODE |
  Fattr.UID |
  Fattr.GID |
  Fattr.SIZE |
  Fattr.ATIME |
  Fattr.MTIME |
  Fattr.ATIME_NOW |
  Fattr.MTIME_NOW |
  Fattr.KILL_SUIDGID;

/** What fuse_flush_times sends. */
const FLUSHED_TIMES = Fattr.MTIME | Fattr.CTIME | Fattr.FH | Fattr.LOCKOWNER;

/** Applies a change; the new attributes are then read by the caller. Returns 0 or -errno. */
export function setattr(ov: Overlay, node: number, change: AttrChange): number {
  const { valid } = change;
  if ((valid & CHANGES) === 0) {
    // chown(-1, -1) clears set-id bits for anybody; it arrives as a change of ctime alone, or, without
    // the writeback cache, of nothing. So does a write that must clear them for somebody without
    // CAP_FSETID, or that took a capability away for anybody (file_remove_privs): who has CAP_FSETID
    // sends it only then, and keeps the bits.
    if (!hasSetIds(ov, node) || isDir(ov.table.mode(node))) return 0;
    const keeps = (valid & Fattr.CTIME) === 0 && change.uncapped && change.caller.keepsSetIds();
    return keeps ? 0 : clearSetIds(ov, node, change.caller);
  }
  // The writeback cache flushes the times of an inode whose link count changed. Of one that lost its
  // last name nobody will read them, and a lower file must not be copied up for it.
  const flushed = (valid & ~FLUSHED_TIMES) === 0 && (valid & Fattr.CTIME) !== 0;
  if (flushed && ov.isGone(node)) {
    const back = comesBack(ov, node);
    if (back <= 0) return back;
  }
  if (!ov.upper) return -E.EROFS;
  const truncated = (valid & Fattr.SIZE) === 0 ? undefined : ov.truncations.take(node);
  if (truncated !== undefined) return afterTruncation(ov, node, change, truncated);
  const guarded = refused(ov, node, guardsAgainst(change));
  if (guarded < 0) return guarded;
  const truncates = (valid & Fattr.SIZE) !== 0;
  const steps = stepsOf(valid);
  // What is only truncated need not be copied whole; capabilities that an xattr of ours tells go first.
  const cuts = truncates && steps === 1 && !ov.overrides;
  let code = cuts ? copyUp(ov, node, sizeOf(change)) : copyUpMeta(ov, node);
  if (code < 0) return code;
  let cut = code === CUT;
  if (!cut) code = steps > 1 ? rememberAll(ov, node) : beforeChange(ov, node);
  const target = targetOf(ov, node);
  if (code >= 0) code = Math.min(target.dir, 0);
  if (code >= 0) code = changeAccess(ov, node, target, change);
  if (code >= 0 && truncates && !cut) {
    code = truncate(ov, node, change);
    cut = code >= 0;
  }
  if (code >= 0 && (valid & TIMES) !== 0) code = setTimes(ov, node, target, change);
  if (code >= 0) return 0;
  if (cut) {
    log(`a file was truncated, but its times were not set: ${errnoName(code)}`);
    return 0;
  }
  if (steps > 1) revert(ov, node, target);
  return code;
}

/** The pool has truncated the file, and nothing but the times was asked for besides. */
function afterTruncation(ov: Overlay, node: number, change: AttrChange, result: number): number {
  if (result < 0) return result;
  const target = targetOf(ov, node);
  let code = Math.min(target.dir, 0);
  if (code >= 0 && (change.valid & TIMES) !== 0) code = setTimes(ov, node, target, change);
  if (code < 0) log(`a file was truncated, but its times were not set: ${errnoName(code)}`);
  return 0;
}

const TIMES = Fattr.ATIME | Fattr.MTIME;

const sizeOf = ({ sizeLo, sizeHi }: AttrChange): number => sizeLo + sizeHi * 0x1_0000_0000;

/**
 * How many calls that decide a change is made of. A truncation comes last, as it cannot be taken back; the
 * times after it do not count: the change itself has set them.
 */
function stepsOf(valid: number): number {
  const owner = (valid & (Fattr.UID | Fattr.GID)) === 0 ? 0 : 1;
  const mode = (valid & (Fattr.MODE | Fattr.KILL_SUIDGID)) === 0 ? 0 : 1;
  if ((valid & Fattr.SIZE) !== 0) return owner + mode + 1;
  return owner + mode + ((valid & TIMES) === 0 ? 0 : 1);
}

/** Owner and mode. */
function changeAccess(ov: Overlay, node: number, target: Target, change: AttrChange): number {
  const { valid } = change;
  const owner = (valid & (Fattr.UID | Fattr.GID)) !== 0;
  let code = owner ? changeOwner(ov, node, target, change) : 0;
  // Every chown of a file asks for it, though chown(2) has done it for who has CAP_FSETID.
  const kill = owner ? killSetIdsFor : killSetIds;
  if (code >= 0 && (valid & Fattr.KILL_SUIDGID) !== 0) code = kill(ov, node, change.caller);
  if (code >= 0 && (valid & Fattr.MODE) !== 0) code = changeMode(ov, node, target, change.mode);
  return code;
}

function setTimes(ov: Overlay, node: number, target: Target, change: AttrChange): number {
  // First: a thread whose write ends between the two would put the old one, and nobody would know.
  if ((change.valid & (Fattr.MTIME | Fattr.MTIME_NOW)) === Fattr.MTIME) {
    ov.times?.set(node, change.mtime, change.mtimeNsec);
  }
  return changeTimes(ov, target, change);
}

/**
 * Before a change of several calls, of which a later one may fail: attributes, and capabilities,
 * which the first may take away.
 */
function rememberAll(ov: Overlay, node: number): number {
  const code = remember(ov, node);
  ov.before.capability = undefined;
  if (code < 0 || ov.overrides || !isReg(ov.table.mode(node))) return code;
  const value = ov.sys.xattr(ov.realDir(node), ov.realName(node), CAPABILITY);
  if (typeof value === 'number') return noXattr(value) ? 0 : value;
  ov.before.capability = value;
  return 0;
}

/** A change of several calls has failed: what the first of them did is taken back, to what was remembered. */
function revert(ov: Overlay, node: number, target: Target): void {
  const { before, overrides } = ov;
  const { attrs } = ov.sys.stats;
  if (target.dir < 0 || !before.put(node, attrs)) return;
  const { mode } = attrs;
  const code = overrides
    ? overrides.keep(target.dir, target.name, overrides.shown(attrs))
    : revertOnDisk(ov, target, attrs);
  if (code >= 0) ov.table.setMode(node, mode);
  else log(`a change of attributes that failed cannot be taken back: ${errnoName(code)}`);
}

function revertOnDisk(ov: Overlay, { dir, name, flags }: Target, to: Stat): number {
  const { native } = ov.sys;
  let code = native.fchownat(dir, name, to.uid, to.gid, flags);
  if (code >= 0 && !isLnk(to.mode)) code = native.fchmodat(dir, name, to.mode & 0o7777);
  const { capability } = ov.before;
  if (code < 0 || capability === undefined) return code;
  return native.setxattr(dir, name, CAPABILITY, XATTR, ov.sys.put(capability, XATTR), 0);
}

/**
 * 1 for an orphan that may have a name again: of O_TMPFILE, or with links that nobody has looked
 * up yet; 0, or -errno.
 */
function comesBack(ov: Overlay, node: number): number {
  const { table } = ov;
  if (!table.has(node, F_ORPHAN)) return 0;
  if (table.name(node) === '') return 1;
  const { attrs } = ov.sys.stats;
  const code = ov.stat(node, attrs);
  if (code < 0) return code;
  return attrs.nlink > 1 ? 1 : 0;
}

/** What keeps from a change (notify_change): "now" may be set, and the page cache's times, of what is append-only. */
function guardsAgainst({ valid, touched }: AttrChange): number {
  const touches = Fattr.ATIME | Fattr.MTIME | Fattr.ATIME_NOW | Fattr.MTIME_NOW;
  const now =
    (valid & Fattr.MTIME) === 0 ||
    (valid & Fattr.MTIME_NOW) !== 0 ||
    (touched && (valid & Fattr.ATIME_NOW) !== 0);
  const flushed = (valid & ~FLUSHED_TIMES) === 0 && (valid & Fattr.CTIME) !== 0;
  if (flushed) return 0;
  return (valid & CHANGES & ~touches) === 0 && now ? IMMUTABLE : APPEND | IMMUTABLE;
}

/** An object as the *at calls take it. */
interface Target {
  readonly dir: number;
  readonly name: string;
  readonly flags: number;
}

function targetOf(ov: Overlay, node: number): Target {
  if (isDir(ov.table.mode(node))) {
    return { dir: ov.upperDir(node), name: '', flags: AT_EMPTY_PATH };
  }
  return { dir: ov.realDir(node), name: ov.realName(node), flags: AT_SYMLINK_NOFOLLOW };
}

/** chown(2) itself clears set-id bits and capabilities of files, as a FUSE_HANDLE_KILLPRIV_V2 server must. */
function changeOwner(ov: Overlay, node: number, target: Target, change: AttrChange): number {
  const uid = (change.valid & Fattr.UID) !== 0 ? change.uid : -1;
  const gid = (change.valid & Fattr.GID) !== 0 ? change.gid : -1;
  if (ov.overrides) return tellOwner(ov, ov.overrides, node, target, { uid, gid });
  return ov.sys.native.fchownat(target.dir, target.name, uid, gid, target.flags);
}

/** The same where an xattr tells the owner, with what the kernel's chown does besides. */
function tellOwner(
  ov: Overlay,
  overrides: Overrides,
  node: number,
  { dir, name }: Target,
  wanted: { readonly uid: number; readonly gid: number },
): number {
  const { attrs } = ov.sys.stats;
  let code = ov.stat(node, attrs);
  if (code < 0) return code;
  const is = overrides.shown(attrs);
  const mode = modeAfterChown(is.mode);
  const uid = wanted.uid === -1 ? is.uid : wanted.uid;
  const gid = wanted.gid === -1 ? is.gid : wanted.gid;
  // First, as notify_change does it: no other owner's capabilities, whatever fails.
  if (isReg(mode)) code = overrides.dropCapability(dir, name);
  if (code >= 0) code = overrides.keep(dir, name, { ...is, uid, gid, mode });
  if (code >= 0) ov.table.setMode(node, mode);
  return code;
}

function setMode(ov: Overlay, node: number, { dir, name }: Target, mode: number): number {
  if (!ov.overrides) return ov.sys.native.fchmodat(dir, name, mode & 0o7777);
  const { attrs } = ov.sys.stats;
  const code = ov.stat(node, attrs);
  if (code < 0) return code;
  const is = ov.overrides.shown(attrs);
  return ov.overrides.keep(dir, name, { ...is, mode: (is.mode & S_IFMT) | (mode & 0o7777) });
}

function changeMode(ov: Overlay, node: number, target: Target, mode: number): number {
  if (isLnk(ov.table.mode(node))) return -E.EOPNOTSUPP;
  const code = setMode(ov, node, target, mode);
  if (code >= 0) ov.table.setMode(node, (ov.table.mode(node) & ~0o7777) | (mode & 0o7777));
  return code;
}

/** A change before which set-id bits were cleared has failed: they are as they were. */
export function restoreMode(ov: Overlay, node: number, mode: number): void {
  if (ov.table.mode(node) === mode) return;
  const code = changeMode(ov, node, targetOf(ov, node), mode);
  if (code < 0) log(`the mode of a file cannot be put back: ${errnoName(code)}`);
}

function truncate(ov: Overlay, node: number, change: AttrChange): number {
  let code = keepNoCapability(ov, node);
  // Deciding: the copy-up, when it cuts; else the last call.
  if (code >= 0) code = copyUp(ov, node, sizeOf(change));
  if (code !== 0) return Math.min(code, 0);
  const fd = dataFile(ov, node);
  if (fd < 0) return fd;
  // truncate(2) to the size that the file has changes no time, and sends none (fuse_do_setattr).
  const times = (change.valid & Fattr.MTIME) === 0 ? ov.times : undefined;
  // A change of owner or mode, which was made before it, is not to be made twice.
  const alone = (change.valid & (Fattr.UID | Fattr.GID | Fattr.MODE)) === 0;
  if (alone && !hasSetIds(ov, node)) {
    const later = truncateLater(ov, node, fd, change, times !== undefined);
    if (later !== undefined) return later;
  }
  times?.hold(node, fd);
  code = ov.sys.native.ftruncate(fd, change.sizeLo, change.sizeHi);
  times?.put(fd);
  return code;
}

/** PARKED when many blocks go, which takes long; undefined: it is to be done here. -errno. */
export function truncateLater(
  ov: Overlay,
  node: number,
  fd: number,
  to: Pick<AttrChange, 'sizeLo' | 'sizeHi'>,
  keepTime: boolean,
): number | undefined {
  if (!ov.truncations.port) return undefined;
  const { probe } = ov.sys.stats;
  const code = ov.sys.statFd(fd, probe);
  if (code < 0) return code;
  const size = to.sizeLo + to.sizeHi * 0x1_0000_0000;
  const goes = Math.min(probe.size - size, probe.blocks * 512);
  if (goes < EXTENT_LEAST) return undefined;
  return ov.truncations.start(node, fd, to.sizeLo, to.sizeHi, keepTime);
}

/** Before the data of an upper file change: its capabilities go, where the change does not take them itself. */
export function keepNoCapability(ov: Overlay, node: number): number {
  const hidden = hidesCapability(ov, node);
  if (hidden <= 0) return hidden;
  // The descriptor was for reading only, so that the write would come here.
  ov.dropFile(node);
  return ov.overrides?.dropCapability(ov.realDir(node), ov.realName(node)) ?? 0;
}

function changeTimes(ov: Overlay, target: Target, change: AttrChange): number {
  const { valid } = change;
  const time = (given: number, now: number, nsec: number): number => {
    if ((valid & given) === 0) return UTIME_OMIT;
    return (valid & now) !== 0 ? UTIME_NOW : nsec;
  };
  return ov.sys.native.utimensat(
    target.dir,
    target.name,
    change.atime,
    time(Fattr.ATIME, Fattr.ATIME_NOW, change.atimeNsec),
    change.mtime,
    time(Fattr.MTIME, Fattr.MTIME_NOW, change.mtimeNsec),
    target.flags,
  );
}

export const hasSetIds = (ov: Overlay, node: number): boolean =>
  (ov.table.mode(node) & (S_ISUID | S_ISGID)) !== 0;

function clearSetIds(ov: Overlay, node: number, caller: Asker): number {
  if (!ov.upper) return 0;
  const up = copyUpMeta(ov, node);
  return up < 0 ? up : killSetIds(ov, node, caller);
}

/** The same for a change whose request does not say whether to (FALLOCATE, COPY_FILE_RANGE). */
export function killSetIdsFor(ov: Overlay, node: number, caller: Asker): number {
  return !hasSetIds(ov, node) || caller.keepsSetIds() ? 0 : killSetIds(ov, node, caller);
}

/**
 * Clears set-user-id, and set-group-id of a file that the group can execute or that is another
 * group's, after a write or truncation by somebody without CAP_FSETID (setattr_should_drop_suidgid).
 * Capabilities go by the write itself.
 */
export function killSetIds(ov: Overlay, node: number, caller: Asker): number {
  const { attrs } = ov.sys.stats;
  const code = ov.stat(node, attrs);
  if (code < 0) return code;
  const { mode } = attrs;
  let kept = mode & ~S_ISUID;
  if ((mode & S_ISGID) !== 0) {
    const { gid } = attrs;
    const drops = (mode & S_IXGRP) !== 0 || !(caller.member(gid) || caller.keepsSetIds());
    if (drops) kept &= ~S_ISGID;
  }
  return kept === mode ? 0 : changeMode(ov, node, targetOf(ov, node), kept);
}
