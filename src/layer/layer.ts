/**
 * One layer: a directory tree, held by descriptors of its root.
 *
 * Where the kernel allows it, a lower's root is a private clone of the layer's mount (open_tree), as kernel
 * overlayfs makes one with clone_private_mount. In the clone no mounts inside the layer are visible, reads
 * change no atime, and nothing can be written.
 *
 * The upper is opened as it is: objects move between upper and workdir, which must be reached through one
 * mount.
 */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import { isDir } from '../base/mode.js';
import {
  AT_FDCWD,
  BTRFS_IOC_FS_INFO,
  FS_IOC_GETFSUUID,
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_RDONLY,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  OPEN_TREE_CLONE,
} from '../sys/constants.js';
import type { Stat } from '../sys/stat.js';
import { SMALL, type Sys } from '../sys/sys.js';
import { lockedFlags, noClone, noIoctl } from './absence.js';

/** struct btrfs_ioctl_fs_info_args, 1024 bytes: u64 max_id, u64 num_devices, u8 fsid[16]. */
const BTRFS_FSID = 16;
/** BTRFS_SUPER_MAGIC, f_type of statfs(2). */
const BTRFS_MAGIC = 0x9123_683e;

export interface Layer {
  /** Names the layer in the inode table; never a position. Above 0. */
  readonly id: number;
  /** For messages. */
  readonly path: string;
  readonly writable: boolean;
  /** O_PATH descriptor of the root. */
  readonly root: number;
  /** Readable descriptor of the root: file handles are opened against it. */
  readonly anchor: number;
  /** st_dev of the root; an object with another one lies on a submounted or nested volume. */
  readonly dev: number;
  /** Inode number of the root. */
  readonly inoLo: number;
  readonly inoHi: number;
  /** `stampOf` the root. */
  readonly stamp: number;
  /** The file system's UUID, 16 bytes as latin1; zeros where there is none, or none told (before 6.9). */
  readonly uuid: string;
  /** Equal for layers on one file system, also in several volumes of it, each of which has a `dev`. */
  readonly fileSystem: string;
}

/** Opens the layer at `path` (absolute). Throws a UserError with one sentence. */
export function openLayer(sys: Sys, path: string, id: number, writable: boolean): Layer {
  const root = openRoot(sys, path, writable);
  try {
    const { probe } = sys.stats;
    const found = sys.statFd(root, probe);
    if (found < 0) throw refused(path, found);
    if (!isDir(probe.mode)) {
      throw new UserError(`layer ${display(path)} is not a directory; give a directory`);
    }
    const { dev, inoLo, inoHi } = probe;
    const stat = { dev, inoLo, inoHi, stamp: stampOf(probe) };
    const anchor = sys.open(root, '.', O_RDONLY | O_DIRECTORY, 0, 0);
    if (anchor < 0) throw refused(path, anchor);
    const identity = fsUuid(sys, anchor);
    if (typeof identity === 'number') {
      sys.native.close(anchor);
      throw refused(path, identity);
    }
    const { uuid, volumes } = identity;
    const fileSystem = volumes ? uuid : String(stat.dev);
    return { id, path, writable, root, anchor, ...stat, uuid, fileSystem };
  } catch (error) {
    sys.native.close(root);
    throw error;
  }
}

/**
 * A hash of what tells one state of a directory from the next, upper half of the
 * inode number, device and time of change. Of one file system and one time no two numbers with the same
 * lower half share it; others do once in 2^32.
 */
export function stampOf(stat: Stat): number {
  let h = stat.inoHi;
  h = mix(h, stat.devMajor ^ Math.imul(stat.devMinor, 0x9e37_79b1));
  h = mix(h, stat.ctimeLo);
  h = mix(h, stat.ctimeHi);
  return mix(h, stat.ctimeNsec) >>> 0;
}

/** One round of murmur3. */
function mix(h: number, word: number): number {
  let k = Math.imul(word, 0xcc9e_2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b87_3593);
  const x = h ^ k;
  return (Math.imul((x << 13) | (x >>> 19), 5) + 0xe654_6b64) | 0;
}

export function closeLayer(sys: Sys, layer: Layer): void {
  sys.native.close(layer.anchor);
  sys.native.close(layer.root);
}

function openRoot(sys: Sys, path: string, writable: boolean): number {
  if (!writable) {
    const clone = sys.openTree(AT_FDCWD, path, OPEN_TREE_CLONE);
    if (clone >= 0) return restrictClone(sys, path, clone);
    if (!noClone(clone)) throw refused(path, clone);
  }
  const root = sys.open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, 0);
  if (root < 0) throw refused(path, root);
  return root;
}

function restrictClone(sys: Sys, path: string, clone: number): number {
  const set = MOUNT_ATTR_NOATIME | MOUNT_ATTR_RDONLY;
  const restricted = sys.native.mountSetattr(clone, set, MOUNT_ATTR__ATIME);
  // The clone serves without them.
  if (restricted >= 0 || lockedFlags(restricted)) return clone;
  sys.native.close(clone);
  throw refused(path, restricted);
}

/** The UUID as kernel overlayfs writes it into file handles (sb->s_uuid); `volumes`: a btrfs. */
function fsUuid(sys: Sys, anchor: number): { uuid: string; volumes: boolean } | number {
  const { native } = sys;
  const told = native.ioctl(anchor, FS_IOC_GETFSUUID, SMALL);
  if (told < 0 && !noIoctl(told)) return told;
  if (told >= 0 && sys.u8[SMALL] === 16) {
    return { uuid: sys.text(SMALL + 1, 16), volumes: false };
  }
  const none = { uuid: '\0'.repeat(16), volumes: false };
  const known = native.fstatfs(anchor, SMALL);
  if (known < 0) return known;
  if (sys.u32[SMALL >> 2] !== BTRFS_MAGIC) return none;
  // Btrfs has one, but answers ENOTTY: it does not say how long (super_set_uuid).
  const asked = native.ioctl(anchor, BTRFS_IOC_FS_INFO, SMALL);
  if (asked < 0) return noIoctl(asked) ? none : asked;
  return { uuid: sys.text(SMALL + BTRFS_FSID, 16), volumes: true };
}

function refused(path: string, code: number): UserError {
  return new UserError(`cannot open layer ${display(path)}: ${errnoText(code)}`);
}
