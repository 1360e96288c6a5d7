/**
 * Objects whose owner has no ID in this user namespace. stat(2) shows them as the overflow user's,
 * who may also be somebody here; but only over objects whose owner and group both have an ID does
 * root in the namespace have its capabilities (capable_wrt_inode_uidgid), and that can be asked. Such
 * an object is shown with NO_ID and is not copied up (EOVERFLOW of ovl_copy_up_one): the copy would
 * be another's, set-user-ID bit included (CVE-2023-0386).
 */
import { E } from '../../base/errno.js';
import { isDir, isLnk, isReg } from '../../base/mode.js';
import {
  O_NOATIME,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  R_OK,
  RESOLVE_LAYER,
} from '../../sys/constants.js';
import type { Stat } from '../../sys/stat.js';
import type { Overlay } from '../overlay.js';

/**
 * `stat`: the node's attributes. Asks the file system only about what the overflow user seems to own.
 * Overwrites the view `probe`.
 */
export function isForeign(ov: Overlay, node: number, stat: Stat): boolean {
  const { overflow } = ov;
  if (!overflow) return false;
  const uid = stat.uid === overflow.uid;
  const gid = stat.gid === overflow.gid;
  if (!uid && !gid) return false;
  if (ov.overrides && isTold(ov, node)) return false;
  if ((uid && !overflow.uidUsed) || (gid && !overflow.gidUsed)) return true;
  const { mode } = stat;
  if (isDir(mode)) return !hasCapabilities(ov, ov.realDirOf(node), '', mode);
  if (!isLnk(mode)) return !hasCapabilities(ov, ov.realDir(node), ov.realName(node), mode);
  return inForeignDirectory(ov, ov.realDir(node));
}

/** The owner is one that an xattr tells, so the number means what it says. */
function isTold(ov: Overlay, node: number): boolean {
  const dir = isDir(ov.table.mode(node)) ? ov.realDirOf(node) : ov.realDir(node);
  const name = isDir(ov.table.mode(node)) ? '.' : ov.realName(node);
  return dir >= 0 && ov.overrides?.tells(ov.objectLayer(node), dir, name) === true;
}

/** A symlink gives every permission to everybody, so it cannot be asked: its directory speaks for it. */
function inForeignDirectory(ov: Overlay, dir: number): boolean {
  const { overflow, sys } = ov;
  const { probe } = sys.stats;
  if (sys.statFd(dir, probe) < 0) return true;
  const foreign = probe.uid === overflow?.uid || probe.gid === overflow?.gid;
  return foreign && !hasCapabilities(ov, dir, '', probe.mode);
}

/**
 * Asks for a permission that the mode gives to nobody else, so that only a capability can; for an
 * object that everybody may read, also for O_NOATIME, which takes its owner or CAP_FOWNER.
 */
function hasCapabilities(ov: Overlay, dir: number, name: string, mode: number): boolean {
  if (dir < 0) return false;
  const given = mode | (mode >> 3);
  const missing = ~given & (isDir(mode) ? 7 : 6);
  const wanted = (missing & R_OK) === 0 ? missing : R_OK;
  if (wanted !== 0 && ov.sys.native.faccessat(dir, name, wanted) === -E.EACCES) return false;
  if (wanted === R_OK || !(isDir(mode) || isReg(mode))) return true;
  const flags = O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOFOLLOW;
  const fd = ov.sys.open(dir, name === '' ? '.' : name, flags, 0, RESOLVE_LAYER);
  if (fd >= 0) ov.sys.native.close(fd);
  return fd !== -E.EPERM;
}
