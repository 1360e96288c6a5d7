/** Attributes: what stat shows of a node, and SETATTR. */
import { E } from '../../base/errno.js';
import { isDir, isLnk, isReg, S_IFMT, S_ISGID, S_ISUID, S_IXGRP } from '../../base/mode.js';
import { Fattr } from '../../protocol/flags.js';
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, UTIME_NOW, UTIME_OMIT } from '../../sys/constants.js';
import type { Stat } from '../../sys/stat.js';
import { copyUp, copyUpMeta } from '../copyUp/copyUp.js';
import { dataFile, hidesCapability } from './files.js';
import { F_INDEXED, F_ORPHAN, F_UNLINKED, F_UPPER } from '../inodes/record.js';
import { unionLinks } from '../lookup/hardLinks.js';
import type { Overlay } from '../overlay.js';
import { modeAfterChown, type Overrides } from '../shown/overrides.js';
import { APPEND, IMMUTABLE, refused } from '../guard.js';

/**
 * The link count to show for `node`, whose attributes are in `stat`. A merged directory shows 1: counting
 * its subdirectories is not worth it, and find takes 1 for "unknown" (ovl_getattr). The name an
 * orphan has in the workdir does not count. Overwrites the view `origin`.
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
  if (flushed && ov.isGone(node) && !comesBack(ov, node)) return 0;
  if (!ov.upper) return -E.EROFS;
  const guarded = refused(ov, node, guardsAgainst(valid));
  if (guarded < 0) return guarded;
  const truncates = (valid & Fattr.SIZE) !== 0;
  let code = truncates
    ? copyUp(ov, node, change.sizeLo + change.sizeHi * 0x1_0000_0000)
    : copyUpMeta(ov, node);
  if (code < 0) return code;
  const target = targetOf(ov, node);
  if (target.dir < 0) return target.dir;
  if ((valid & (Fattr.UID | Fattr.GID)) !== 0) code = changeOwner(ov, node, target, change);
  if (code >= 0 && truncates) code = truncate(ov, node, change);
  // Every chown of a file asks for it, though chown(2) has done it for who has CAP_FSETID.
  const kill = (valid & (Fattr.UID | Fattr.GID)) !== 0 ? killSetIdsFor : killSetIds;
  if (code >= 0 && (valid & Fattr.KILL_SUIDGID) !== 0) code = kill(ov, node, change.caller);
  if (code >= 0 && (valid & Fattr.MODE) !== 0) code = changeMode(ov, node, target, change.mode);
  if (code >= 0 && (valid & (Fattr.ATIME | Fattr.MTIME)) !== 0) {
    // First: a thread whose write ends between the two would put the old one, and nobody would know.
    if ((valid & (Fattr.MTIME | Fattr.MTIME_NOW)) === Fattr.MTIME) {
      ov.times?.set(node, change.mtime, change.mtimeNsec);
    }
    code = changeTimes(ov, target, change);
  }
  return code;
}

/** True for an orphan that may have a name again: of O_TMPFILE, or with links that nobody has looked up yet. */
function comesBack(ov: Overlay, node: number): boolean {
  const { table } = ov;
  if (!table.has(node, F_ORPHAN)) return false;
  if (table.name(node) === '') return true;
  const { attrs } = ov.sys.stats;
  return ov.stat(node, attrs) >= 0 && attrs.nlink > 1;
}

/** What keeps from a change (notify_change): "now" may be set, and the page cache's times, of what is append-only. */
function guardsAgainst(valid: number): number {
  const touches = Fattr.ATIME | Fattr.MTIME | Fattr.ATIME_NOW | Fattr.MTIME_NOW;
  const now = (valid & Fattr.MTIME) === 0 || (valid & Fattr.MTIME_NOW) !== 0;
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
  if (ov.overrides) return tellOwner(ov, ov.overrides, node, target, uid, gid);
  return ov.sys.native.fchownat(target.dir, target.name, uid, gid, target.flags);
}

/** The same where an xattr tells the owner, with what the kernel's chown does besides. */
function tellOwner(
  ov: Overlay,
  overrides: Overrides,
  node: number,
  { dir, name }: Target,
  uid: number,
  gid: number,
): number {
  const { attrs } = ov.sys.stats;
  let code = ov.stat(node, attrs);
  if (code < 0) return code;
  const is = overrides.shown(attrs);
  const mode = modeAfterChown(is.mode);
  const owner = { uid: uid === -1 ? is.uid : uid, gid: gid === -1 ? is.gid : gid };
  code = overrides.keep(dir, name, { ...is, ...owner, mode });
  if (code < 0) return code;
  ov.table.setMode(node, mode);
  return isReg(mode) ? overrides.dropCapability(dir, name) : 0;
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

function truncate(ov: Overlay, node: number, change: AttrChange): number {
  const kept = keepNoCapability(ov, node);
  const fd = kept < 0 ? kept : dataFile(ov, node);
  if (fd < 0) return fd;
  // truncate(2) to the size that the file has changes no time, and sends none (fuse_do_setattr).
  const times = (change.valid & Fattr.MTIME) === 0 ? ov.times : undefined;
  times?.hold(node, fd);
  const code = ov.sys.native.ftruncate(fd, change.sizeLo, change.sizeHi);
  times?.put(fd);
  return code;
}

/** Before the data of an upper file change: its capabilities go, where the change does not take them itself. */
export function keepNoCapability(ov: Overlay, node: number): number {
  if (!hidesCapability(ov, node)) return 0;
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

const hasSetIds = (ov: Overlay, node: number): boolean =>
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
