/**
 * The port to the kernel: one per engine thread. It adds to the addon's functions the views over
 * the thread's shared memory and the fixed places in it where results land.
 */
import { STATX } from '../protocol/layout.js';
import '../base/bytes.js';
import { E } from '../base/errno.js';
import { loadNative, type Native } from './native.js';
import { SCRATCH, SCRATCH_SIZE } from './memory.js';

/** Results of statx land in one of these. A is the object a reply is about. */
export const STAT_A = SCRATCH;
export const STAT_B = SCRATCH + 0x100;
export const STAT_C = SCRATCH + 0x200;
/** Small results, of 1 KiB at most: lseek, ioctl, file handles, statfs. */
export const SMALL = SCRATCH + 0x400;
/** Values and lists of xattrs (XATTR_SIZE_MAX and XATTR_LIST_MAX are 64 KiB). */
export const XATTR = SCRATCH + 0x1000;
export const XATTR_MAX = 0x10000;
/** A second xattr buffer, for the list while values are read. */
export const XATTR_LIST = XATTR + XATTR_MAX;
/** getdents64 and readlink. */
export const DENTS = XATTR_LIST + XATTR_MAX;
export const DENTS_SIZE = SCRATCH + SCRATCH_SIZE - DENTS;

export class Sys {
  readonly native: Native;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly view: DataView;
  readonly buffer: Buffer;

  constructor(native: Native = loadNative()) {
    this.native = native;
    this.u8 = new Uint8Array(native.memory);
    this.u16 = new Uint16Array(native.memory);
    this.u32 = new Uint32Array(native.memory);
    this.view = new DataView(native.memory);
    this.buffer = Buffer.from(native.memory);
  }

  /**
   * openat2(2). When the process is out of descriptors, the cached ones are given up (`reclaim`) and
   * it is tried once more.
   */
  open(dirfd: number, path: string, flags: number, mode: number, resolve: number): number {
    const fd = this.native.openat2(dirfd, path, flags, mode, resolve);
    if (fd !== -E.EMFILE && fd !== -E.ENFILE) return fd;
    return this.reclaim() ? this.native.openat2(dirfd, path, flags, mode, resolve) : fd;
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

  statMode(at: number): number {
    return this.u16[(at + STATX.mode) >> 1];
  }

  /** Device number of a statx as one exact number. */
  statDev(at: number): number {
    const w = at >> 2;
    return this.u32[w + STATX.dev_major / 4] * 0x100_0000 + this.u32[w + STATX.dev_minor / 4];
  }

  /** A 0:0 character device: a whiteout in kernel overlayfs's format. */
  statIsZeroDev(at: number): boolean {
    const w = at >> 2;
    return this.u32[w + STATX.rdev_major / 4] === 0 && this.u32[w + STATX.rdev_minor / 4] === 0;
  }

  /** An xattr's value as latin1, or -errno. */
  xattr(dirfd: number, name: string, key: string): string | number {
    const n = this.native.getxattr(dirfd, name, key, XATTR, XATTR_MAX);
    return n < 0 ? n : this.text(XATTR, n);
  }
}
