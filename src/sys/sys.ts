/**
 * The port to the kernel: one for each engine thread. It adds to the addon's functions the views of the
 * thread's shared memory, and the fixed places in it for results.
 */
import '../base/bytes.js';
import { E } from '../base/errno.js';
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  RENAME_NOREPLACE,
  STATX_BASIC_STATS,
} from './constants.js';
import { SCRATCH, SCRATCH_SIZE } from './memory.js';
import { loadNative, type Native } from './native.js';
import { type Stat, Stats, STATS_SIZE } from './stat.js';

/** Small results, of 1 KiB at most: lseek, ioctl, file handles, statfs. */
export const SMALL = SCRATCH + STATS_SIZE;
/** Values and lists of xattrs (XATTR_SIZE_MAX and XATTR_LIST_MAX are 64 KiB). */
export const XATTR = SMALL + 0x1000;
export const XATTR_MAX = 0x10000;
/** A second xattr buffer, for the list while values are read. */
export const XATTR_LIST = XATTR + XATTR_MAX;
/** getdents64 and readlink. */
export const DENTS = XATTR_LIST + XATTR_MAX;
export const DENTS_SIZE = SCRATCH + SCRATCH_SIZE - DENTS;

/** Times that an open is tried again for want of descriptors. */
const TRIES = 4;

export class Sys {
  readonly native: Native;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly view: DataView;
  readonly buffer: Buffer;
  readonly stats: Stats;

  constructor(native: Native = loadNative()) {
    this.native = native;
    this.u8 = new Uint8Array(native.memory);
    this.u16 = new Uint16Array(native.memory);
    this.u32 = new Uint32Array(native.memory);
    this.view = new DataView(native.memory);
    this.buffer = Buffer.from(native.memory);
    this.stats = new Stats(native.memory);
  }

  /**
   * openat2(2). When the process is out of descriptors, kept ones are given up (`reclaim`) and it is
   * tried again.
   */
  open(dirfd: number, path: string, flags: number, mode: number, resolve: number): number {
    const fd = this.native.openat2(dirfd, path, flags, mode, resolve);
    if (fd !== -E.EMFILE && fd !== -E.ENFILE) return fd;
    return this.#again(() => this.native.openat2(dirfd, path, flags, mode, resolve), fd);
  }

  /** open_tree(2), as `open`. */
  openTree(dirfd: number, path: string, flags: number): number {
    const fd = this.native.openTree(dirfd, path, flags);
    if (fd !== -E.EMFILE && fd !== -E.ENFILE) return fd;
    return this.#again(() => this.native.openTree(dirfd, path, flags), fd);
  }

  /** Another thread may take what was given up, so it is tried a few times. */
  #again(open: () => number, first: number): number {
    let fd = first;
    for (let i = 0; i < TRIES && (fd === -E.EMFILE || fd === -E.ENFILE) && this.reclaim(); i++) {
      fd = open();
    }
    return fd;
  }

  /** Closes descriptors that can be opened again; false when there are none. Set by their owner. */
  reclaim: () => boolean = () => false;

  /** `length` bytes at `at` as a latin1 string. */
  text(at: number, length: number): string {
    return this.buffer.latin1Slice(at, at + length);
  }

  /** The NUL-terminated bytes at `at`. */
  cstring(at: number): string {
    return this.buffer.latin1Slice(at, this.u8.indexOf(0, at));
  }

  /** Stores a latin1 string at `at`; returns its length. */
  put(text: string, at: number): number {
    return this.buffer.latin1Write(text, at);
  }

  u64(at: number): number {
    return this.u32[at >> 2] + this.u32[(at >> 2) + 1] * 0x1_0000_0000;
  }

  /** statx(2) of `dir`/`name`, following no symlink, into `stat`. Returns 0 or -errno. */
  statName(dir: number, name: string, stat: Stat, mask: number = STATX_BASIC_STATS): number {
    return this.native.statx(dir, name, AT_SYMLINK_NOFOLLOW, mask, stat.at);
  }

  /** The same of what `fd` is open on. */
  statFd(fd: number, stat: Stat, mask: number = STATX_BASIC_STATS): number {
    return this.native.statx(fd, '', AT_EMPTY_PATH, mask, stat.at);
  }

  /**
   * Renames to a free name; -EEXIST when it is taken. A file system without RENAME_NOREPLACE answers
   * EINVAL (rename(2)): there the name is looked at first, which is as good where nobody else makes one.
   */
  renameNew(fromDir: number, from: string, toDir: number, to: string): number {
    const moved = this.native.renameat2(fromDir, from, toDir, to, RENAME_NOREPLACE);
    if (moved !== -E.EINVAL) return moved;
    const found = this.statName(toDir, to, this.stats.probe);
    if (found !== -E.ENOENT) return found === 0 ? -E.EEXIST : found;
    return this.native.renameat2(fromDir, from, toDir, to, 0);
  }

  /** An xattr's value as latin1, or -errno. */
  xattr(dirfd: number, name: string, key: string): string | number {
    const n = this.native.getxattr(dirfd, name, key, XATTR, XATTR_MAX);
    return n < 0 ? n : this.text(XATTR, n);
  }
}
