/**
 * Identifies the process behind a request. With FUSE_ALLOW_IDMAP the kernel puts user and group ID into the
 * header of creations only (fuse_get_req), and it never sends capabilities. The few decisions that need more
 * read /proc/PID/status; the caller waits for its reply meanwhile.
 */
import type { Asker } from '../overlay/access/attr.js';
import type { Caller } from '../overlay/change/newObject.js';
import { NO_ID, OVERFLOW_ID } from '../overlay/shown/ids.js';
import type { Overlay } from '../overlay/overlay.js';
import { IN_HEADER } from '../protocol/layout.js';
import { AT_FDCWD, O_RDONLY, STATX_INO } from '../sys/constants.js';
import { IN } from '../sys/memory.js';
import { type Sys, XATTR, XATTR_MAX } from '../sys/sys.js';
import { CAP_FSETID, CAP_SYS_ADMIN, hasCapability } from '../sys/userns.js';

const SIGKILL_BIT = 8n;

/** struct fuse_ext_header: u32 size, u32 type; struct fuse_supp_groups: u32 nr_groups, u32 groups[]. */
const EXT_GROUPS = 32;
const EXT_HEADER = 8;

/** The sender of the request that is being served; one for each served mount. */
export class RequestCaller implements Asker {
  readonly #ov: Overlay;

  constructor(ov: Overlay) {
    this.#ov = ov;
  }

  get #pid(): number {
    return this.#ov.sys.u32[(IN + IN_HEADER.pid) >> 2];
  }

  /**
   * Maker of a new object, with ids as they go to disk. An engine makes objects as root, which a container's
   * mapping need not have, and gives them away afterwards: until then the overflow ID owns them, as in
   * fuse-overlayfs.
   */
  creator(umask: number): Caller {
    const { ids, sys } = this.#ov;
    const uid = sys.u32[(IN + IN_HEADER.uid) >> 2];
    const gid = sys.u32[(IN + IN_HEADER.gid) >> 2];
    const [diskUid, diskGid] = ids ? [ids.diskUid(uid), ids.diskGid(gid)] : [uid, gid];
    return {
      uid: diskUid === NO_ID && uid !== NO_ID ? OVERFLOW_ID : diskUid,
      gid: diskGid === NO_ID && gid !== NO_ID ? OVERFLOW_ID : diskGid,
      unmapped: diskUid === NO_ID || diskGid === NO_ID,
      umask,
      asker: this,
    };
  }

  /** In group `gid` (as on disk), by the header, by FUSE_CREATE_SUPP_GROUP or by /proc. */
  member(gid: number): boolean {
    const { ids, sys } = this.#ov;
    const shown = ids ? ids.shownGid(gid) : gid;
    if (shown === NO_ID) return false;
    if (sys.u32[(IN + IN_HEADER.gid) >> 2] === shown || this.#sentGroup() === shown) return true;
    const status = this.#status();
    const groups = `${lastOf(status, 'Gid')} ${lineOf(status, 'Groups')}`;
    return groups.split(' ').includes(String(shown));
  }

  /** May keep set-id bits of what it writes to. */
  keepsSetIds(): boolean {
    return hasCapability(this.#status(), CAP_FSETID);
  }

  /** ovl_can_list: CAP_SYS_ADMIN where the layers' file systems look for it. */
  seesTrusted(): boolean {
    const ours = userNamespace(this.#ov.sys, 'self');
    return (
      hasCapability(this.#status(), CAP_SYS_ADMIN) &&
      userNamespace(this.#ov.sys, String(this.#pid)) === ours
    );
  }

  /** The one supplementary group the kernel sends along: the parent's; NO_ID for none. */
  #sentGroup(): number {
    const { view } = this.#ov.sys;
    const end = IN + view.getUint32(IN + IN_HEADER.len, true);
    // In units of 8 bytes, behind a name of any length.
    const bytes = view.getUint16(IN + IN_HEADER.total_extlen, true) * 8;
    for (let at = end - bytes; at + EXT_HEADER <= end; ) {
      const type = view.getUint32(at + 4, true);
      if (type === EXT_GROUPS && view.getUint32(at + EXT_HEADER, true) > 0) {
        return view.getUint32(at + EXT_HEADER + 4, true);
      }
      at += Math.max(EXT_HEADER, view.getUint32(at, true));
    }
    return NO_ID;
  }

  #status(): string {
    return statusOf(this.#ov.sys, this.#pid);
  }
}

/** Process `pid` was told to end: SIGKILL, or another signal that ends it, is pending (complete_signal). */
export function isKilled(sys: Sys, pid: number): boolean {
  const status = statusOf(sys, pid);
  return ['SigPnd', 'ShdPnd'].some(
    (line) => ((BigInt(`0x${lineOf(status, line) || '0'}`) >> SIGKILL_BIT) & 1n) === 1n,
  );
}

/** "" for a process that cannot be seen from here (another pid namespace), which has no rights. */
function statusOf(sys: Sys, pid: number): string {
  if (pid === 0) return '';
  const fd = sys.open(AT_FDCWD, `/proc/${pid}/status`, O_RDONLY, 0, 0);
  if (fd < 0) return '';
  const length = sys.native.pread(fd, XATTR, XATTR_MAX, 0, 0);
  sys.native.close(fd);
  return length < 0 ? '' : sys.text(XATTR, length);
}

/** The values of one line, separated by single spaces. */
function lineOf(status: string, name: string): string {
  const line = status.split('\n').find((each) => each.startsWith(`${name}:`)) ?? '';
  return line
    .slice(name.length + 1)
    .trim()
    .replace(/\s+/g, ' ');
}

/** The file system's ID is the last of the four (proc_pid_status(5)). */
const lastOf = (status: string, name: string): string =>
  lineOf(status, name).split(' ').at(-1) ?? '';

/** The number of a process's user namespace; 0 when it cannot be told. */
function userNamespace(sys: Sys, process: string): number {
  const path = `/proc/${process}/ns/user`;
  const { probe } = sys.stats;
  const code = sys.native.statx(AT_FDCWD, path, 0, STATX_INO, probe.at);
  return code < 0 ? 0 : probe.ino;
}
