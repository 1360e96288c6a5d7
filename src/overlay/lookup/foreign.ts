/**
 * Objects whose owner has no ID in this user namespace. stat(2) shows them as the overflow user's, whom the
 * namespace may also have as a real user. The test is a capability: root in the namespace has its
 * capabilities only over objects whose owner and group both have an ID (capable_wrt_inode_uidgid).
 *
 * Unless the mount adopts it, such an object is shown with NO_ID and is not copied up (EOVERFLOW of
 * ovl_copy_up_one): the copy would belong to somebody else, with its set-user-ID bit (CVE-2023-0386).
 */
import { isDir, isLnk, isReg } from '../../base/mode.js';
import { denied } from '../../layer/absence.js';
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
 * 1 for an object without an owner here, 0 for another, -errno. `stat`: the node's attributes. Asks the
 * file system only about what the overflow user seems to own. Overwrites the view `probe`.
 */
export function isForeign(ov: Overlay, node: number, stat: Stat): number {
  const { overflow } = ov;
  if (!overflow) return 0;
  const uid = stat.uid === overflow.uid;
  const gid = stat.gid === overflow.gid;
  if (!uid && !gid) return 0;
  const told = ov.overrides ? isTold(ov, node) : 0;
  if (told !== 0) return Math.min(told, 0);
  if ((uid && !overflow.uidUsed) || (gid && !overflow.gidUsed)) return 1;
  const { mode } = stat;
  if (isDir(mode)) return lacksCapabilities(ov, ov.realDirOf(node), '', mode);
  if (!isLnk(mode)) return lacksCapabilities(ov, ov.realDir(node), ov.realName(node), mode);
  return inForeignDirectory(ov, ov.realDir(node));
}

/**
 * Such an object is the overflow user's, who is somebody here: what is copied up gets that owner, and no
 * set-ID bit or capability, so nobody gains more than that user's rights over a copy.
 */
export const adopts = ({ spec, overflow }: Overlay): boolean =>
  spec.ownerless === 'nobody' && overflow?.uidUsed === true && overflow.gidUsed;

/** 1 when the owner is one that an xattr tells, so the number means what it says; 0, or -errno. */
function isTold(ov: Overlay, node: number): number {
  const dir = isDir(ov.table.mode(node)) ? ov.realDirOf(node) : ov.realDir(node);
  const name = isDir(ov.table.mode(node)) ? '.' : ov.realName(node);
  return dir < 0 ? dir : (ov.overrides?.tells(ov.objectLayer(node), dir, name) ?? 0);
}

/** A symlink gives every permission to everybody, so it cannot be asked: its directory speaks for it. */
function inForeignDirectory(ov: Overlay, dir: number): number {
  const { overflow, sys } = ov;
  const { probe } = sys.stats;
  const code = dir < 0 ? dir : sys.statFd(dir, probe);
  if (code < 0) return code;
  const foreign = probe.uid === overflow?.uid || probe.gid === overflow?.gid;
  return foreign ? lacksCapabilities(ov, dir, '', probe.mode) : 0;
}

/**
 * 1, 0 or -errno. Asks for a permission that the mode gives to nobody else, so that only a capability can; for an
 * object that everybody may read, also for O_NOATIME, which takes its owner or CAP_FOWNER.
 */
function lacksCapabilities(ov: Overlay, dir: number, name: string, mode: number): number {
  if (dir < 0) return dir;
  const given = mode | (mode >> 3);
  const missing = ~given & (isDir(mode) ? 7 : 6);
  const wanted = (missing & R_OK) === 0 ? missing : R_OK;
  const asked = wanted === 0 ? 0 : ov.sys.native.faccessat(dir, name, wanted);
  if (asked < 0) return denied(asked) ? 1 : asked;
  if (wanted === R_OK || !(isDir(mode) || isReg(mode))) return 0;
  const flags = O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOFOLLOW;
  const fd = ov.sys.open(dir, name === '' ? '.' : name, flags, 0, RESOLVE_LAYER);
  if (fd < 0) return denied(fd) ? 1 : fd;
  ov.sys.native.close(fd);
  return 0;
}
