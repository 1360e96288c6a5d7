/** Extended attributes of nodes: read from the real object, changed on the upper one. */
import { E, errnoName } from '../../base/errno.js';
import { isChr, isDir, isReg, S_ISGID } from '../../base/mode.js';
import { isFuseOverlayfsMark } from '../../layer/whiteout.js';
import {
  ACCESS_ACL,
  CAPABILITY,
  DEFAULT_ACL,
  isPrivate,
  NESTED_WHITEOUT,
  toClient,
  toDisk,
} from '../../layer/xattrs.js';
import { SETXATTR_ACL_KILL_SGID } from '../../protocol/flags.js';
import { STATX_MODE } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import { XATTR_LIST, XATTR_MAX } from '../../sys/sys.js';
import type { Asker } from './attr.js';
import { copyUpMeta } from '../copyUp/copyUp.js';
import { F_ACL_DEFAULT, F_ACL_KNOWN, F_CAPABLE, F_UPPER } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';
import { APPEND, IMMUTABLE, refused } from '../guard.js';

function objectDir(ov: Overlay, node: number): number {
  return isDir(ov.table.mode(node)) ? ov.realDirOf(node) : ov.realDir(node);
}

const objectName = (ov: Overlay, node: number): string =>
  isDir(ov.table.mode(node)) ? '.' : ov.realName(node);

/**
 * The value lands at `at`; returns its length (`size` 0: only that) or -errno. On a file system without
 * ACLs (squashfs) nothing has one (do_get_acl in overlayfs): with EOPNOTSUPP the kernel would keep out
 * everybody but the owner.
 */
export function getxattr(ov: Overlay, node: number, key: string, at: number, size: number): number {
  const length = read(ov, node, key, at, size);
  const absent = length === -E.EOPNOTSUPP && isAcl(key) && hasAcl(ov, key);
  return absent ? -E.ENODATA : length;
}

/** The same, with what the object's file system says. */
function read(ov: Overlay, node: number, key: string, at: number, size: number): number {
  // Where ACLs are negotiated nevertheless (fuse/init.ts), nothing has one.
  if (!hasAcl(ov, key)) return ov.spec.givenMount ? -E.ENODATA : -E.EOPNOTSUPP;
  const dir = objectDir(ov, node);
  if (dir < 0) return dir;
  const stored = diskName(ov, node, key);
  // A name that nobody can set is not there (ovl_xattr_get).
  if (stored === -E.EINVAL) return stored;
  if (typeof stored === 'number') return -E.ENODATA;
  const length = ov.sys.native.getxattr(dir, objectName(ov, node), stored, at, size);
  if (!ov.ids || length <= 0 || size === 0 || ov.idmapped.has(ov.objectLayer(node))) return length;
  const shown = ov.ids.shownXattr(ov.sys, key, at, length);
  return shown < 0 ? shown : length;
}

/**
 * The name on disk of a client's xattr; -errno for one that clients cannot have: -EINVAL for the bare
 * prefix (xattr_resolve_name), -EPERM for what makes a device a client's whiteout.
 */
function diskName(ov: Overlay, node: number, key: string): string | number {
  if (key === ov.markPrefix) return -E.EINVAL;
  if (ov.plain && isFuseOverlayfsMark(key)) return -E.EPERM;
  const stored = toDisk(key, ov.markPrefix);
  if (stored === NESTED_WHITEOUT && isChr(ov.table.mode(node))) return -E.EPERM;
  return ov.overrides?.toDisk(ov.objectLayer(node), stored) ?? stored;
}

const isAcl = (key: string): boolean => key === ACCESS_ACL || key === DEFAULT_ACL;

/** False for an ACL in a mount without ACLs. */
const hasAcl = (ov: Overlay, key: string): boolean => ov.spec.acl !== false || !isAcl(key);

/** The names a client sees, each followed by NUL; trusted.* only for who may (ovl_can_list). */
export function listxattr(ov: Overlay, node: number, caller: Asker): string | number {
  const dir = objectDir(ov, node);
  if (dir < 0) return dir;
  const { native } = ov.sys;
  const bytes = native.listxattr(dir, objectName(ov, node), XATTR_LIST, XATTR_MAX);
  if (bytes < 0) return bytes;
  if (bytes === 0) {
    if (ov.bare.walked) ov.bare.add(node);
    return '';
  }
  let list = '';
  let trusted: boolean | undefined;
  const device = isChr(ov.table.mode(node));
  for (const key of ov.sys.text(XATTR_LIST, bytes - 1).split('\0')) {
    if (device && key === NESTED_WHITEOUT) continue;
    if (ov.plain && isFuseOverlayfsMark(key)) continue;
    const own = ov.overrides ? ov.overrides.toClient(ov.objectLayer(node), key) : key;
    const shown = own === undefined ? undefined : toClient(own, ov.markPrefix);
    if (shown === undefined || !hasAcl(ov, shown)) continue;
    if (shown.startsWith('trusted.') && !(trusted ??= caller.seesTrusted())) continue;
    list += `${shown}\0`;
  }
  return list;
}

/**
 * Whether the node has no xattr that a client would see. False where names on disk differ from those shown,
 * and after a failure: the client's own request meets it.
 */
export function isBare(ov: Overlay, node: number): boolean {
  const dir = ov.overrides ? -1 : objectDir(ov, node);
  if (dir < 0) return false;
  const bytes = ov.sys.native.listxattr(dir, objectName(ov, node), XATTR_LIST, XATTR_MAX);
  if (bytes <= 0) return bytes === 0;
  const keys = ov.sys.text(XATTR_LIST, bytes - 1).split('\0');
  return keys.every((key) => isPrivate(key, ov.markPrefix));
}

interface NewXattr {
  readonly key: string;
  /** The value is `size` bytes at `at`. */
  readonly at: number;
  readonly size: number;
  /** XATTR_CREATE or XATTR_REPLACE. */
  readonly flags: number;
  /** FUSE_SETXATTR_*. */
  readonly ext: number;
}

/** Returns 0 or -errno. */
export function setxattr(ov: Overlay, node: number, wanted: NewXattr): number {
  const { key, at, size, flags, ext } = wanted;
  if (!ov.upper) return -E.EROFS;
  if (!hasAcl(ov, key)) return -E.EOPNOTSUPP;
  const refusal = diskName(ov, node, key);
  if (typeof refusal === 'number') return refusal;
  let code = ov.ids ? ov.ids.diskXattr(ov.sys, key, at, size) : 0;
  if (code >= 0) code = refused(ov, node, APPEND | IMMUTABLE);
  if (code >= 0) code = copyUpMeta(ov, node);
  if (code < 0) return code;
  const dir = objectDir(ov, node);
  if (dir < 0) return dir;
  const stored = diskName(ov, node, key);
  if (typeof stored === 'number') return stored;
  const kills = key === ACCESS_ACL && (ext & SETXATTR_ACL_KILL_SGID) !== 0;
  const mode = ov.table.mode(node);
  if (kills) code = chmod(ov, node, mode & ~S_ISGID);
  if (code < 0) return code;
  ov.bare.drop(node);
  // Deciding.
  code = ov.sys.native.setxattr(dir, objectName(ov, node), stored, at, size, flags);
  if (code < 0) {
    if (kills) chmod(ov, node, mode);
    return code;
  }
  aclChanged(ov, node, key);
  if (stored === CAPABILITY && isReg(mode)) {
    ov.table.set(node, F_CAPABLE);
    ov.dropFile(node);
  }
  return 0;
}

export function removexattr(ov: Overlay, node: number, key: string, caller: Asker): number {
  if (!ov.upper) return -E.EROFS;
  const refusal = diskName(ov, node, key);
  if (typeof refusal === 'number') return refusal;
  const guarded = refused(ov, node, APPEND | IMMUTABLE);
  if (guarded < 0) return guarded;
  // A name that is not there copies nothing up (ovl_xattr_set). The upper's file system itself says
  // what removing an absent ACL is: most call it done (ovl_set_or_remove_acl).
  if (!isAcl(key) || !ov.table.has(node, F_UPPER)) {
    const present = read(ov, node, key, 0, 0);
    if (present < 0) return present;
  }
  const up = copyUpMeta(ov, node);
  if (up < 0) return up;
  const dir = objectDir(ov, node);
  if (dir < 0) return dir;
  const stored = diskName(ov, node, key);
  if (typeof stored === 'number') return stored;
  const kills = losesSgid(ov, node, key, caller);
  if (kills < 0) return kills;
  const mode = ov.table.mode(node);
  const killed = kills > 0 ? chmod(ov, node, mode & ~S_ISGID) : 0;
  if (killed < 0) return killed;
  // Deciding.
  const code = ov.sys.native.removexattr(dir, objectName(ov, node), stored);
  if (code < 0) {
    if (kills > 0) chmod(ov, node, mode);
    return code;
  }
  if (key === CAPABILITY && ov.table.has(node, F_CAPABLE)) {
    ov.table.clear(node, F_CAPABLE);
    ov.dropFile(node);
  }
  aclChanged(ov, node, key);
  return 0;
}

/**
 * 1 when removing the ACL clears set-group-id, as setting one does, of which FUSE tells us, and as
 * overlayfs does in either case, before it (ovl_set_or_remove_acl); 0; -errno.
 */
function losesSgid(ov: Overlay, node: number, key: string, caller: Asker): number {
  if (key !== ACCESS_ACL || (ov.table.mode(node) & S_ISGID) === 0) return 0;
  const { attrs } = ov.sys.stats;
  const code = ov.stat(node, attrs);
  if (code < 0) return code;
  return !caller.member(attrs.gid) && !caller.keepsSetIds() ? 1 : 0;
}

/** Gives an upper object the mode, where it has another. Returns 0 or -errno. */
function chmod(ov: Overlay, node: number, mode: number): number {
  const { native } = ov.sys;
  if (mode === ov.table.mode(node)) return 0;
  const code = native.fchmodat(objectDir(ov, node), objectName(ov, node), mode & 0o7777);
  if (code >= 0) ov.table.setMode(node, mode);
  return code;
}

/** An access ACL changes the mode; a default ACL what new entries get. */
function aclChanged(ov: Overlay, node: number, key: string): void {
  const { table, sys } = ov;
  const { attrs } = sys.stats;
  if (key === DEFAULT_ACL) table.clear(node, F_ACL_KNOWN | F_ACL_DEFAULT);
  if (key !== ACCESS_ACL) return;
  const code = ov.stat(node, attrs, STATX_MODE);
  if (code >= 0) table.setMode(node, attrs.mode);
  else log(`the mode that an ACL gives cannot be read: ${errnoName(code)}`);
}
