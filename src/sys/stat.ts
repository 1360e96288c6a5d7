/**
 * Views of struct statx. A system call fills one, and the function that asked reads it. Each thread has eleven
 * of them (`Stats`) in its scratch memory, so a request allocates none.
 *
 * A function never leaves a result in a view that it chose itself: the caller passes the view, or the result
 * names it (`Hit.stat`, `Source.stat`). A caller must not hold a view that the function uses for itself; in
 * the tests `spoil` overwrites these views.
 */
import { STATX } from '../protocol/layout.js';
import { SCRATCH } from './memory.js';

const W = {
  ino: STATX.ino / 4,
  size: STATX.size_ / 4,
  blocks: STATX.blocks / 4,
  atime: STATX.atime / 4,
  mtime: STATX.mtime / 4,
  ctime: STATX.ctime / 4,
} as const;
/** stx_mnt_id, a u64. */
const W_MOUNT_ID = 144 / 4;
/** struct statx_timestamp in words: seconds (two), nanoseconds, padding. */
const TIME_WORDS = 3;
const HIGH = 0x1_0000_0000;

export class Stat {
  /** Where in the shared memory it lies; `Native.statx` writes there. */
  readonly at: number;
  readonly #w: number;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;

  constructor(memory: ArrayBuffer, at: number) {
    this.at = at;
    this.#w = at >> 2;
    this.#u8 = new Uint8Array(memory);
    this.#u16 = new Uint16Array(memory);
    this.#u32 = new Uint32Array(memory);
  }

  get mode(): number {
    return this.#u16[(this.at + STATX.mode) >> 1];
  }
  set mode(mode: number) {
    this.#u16[(this.at + STATX.mode) >> 1] = mode;
  }
  get nlink(): number {
    return this.#u32[this.#w + STATX.nlink / 4];
  }
  set nlink(nlink: number) {
    this.#u32[this.#w + STATX.nlink / 4] = nlink;
  }
  get uid(): number {
    return this.#u32[this.#w + STATX.uid / 4];
  }
  set uid(uid: number) {
    this.#u32[this.#w + STATX.uid / 4] = uid;
  }
  get gid(): number {
    return this.#u32[this.#w + STATX.gid / 4];
  }
  set gid(gid: number) {
    this.#u32[this.#w + STATX.gid / 4] = gid;
  }

  /** The two halves of the inode number. */
  get inoLo(): number {
    return this.#u32[this.#w + W.ino];
  }
  get inoHi(): number {
    return this.#u32[this.#w + W.ino + 1];
  }
  /** The inode number, rounded above 2^53. */
  get ino(): number {
    return this.inoLo + this.inoHi * HIGH;
  }
  /** The same object of the same file system. */
  hasInoOf(other: Stat): boolean {
    return this.inoLo === other.inoLo && this.inoHi === other.inoHi;
  }

  /** The two halves of the size in bytes. */
  get sizeLo(): number {
    return this.#u32[this.#w + W.size];
  }
  get sizeHi(): number {
    return this.#u32[this.#w + W.size + 1];
  }
  /** The size in bytes, rounded above 2^53. */
  get size(): number {
    return this.sizeLo + this.sizeHi * HIGH;
  }
  /** Units of 512 bytes, rounded above 2^53. */
  get blocks(): number {
    return this.#u32[this.#w + W.blocks] + this.#u32[this.#w + W.blocks + 1] * HIGH;
  }
  set blocks(blocks: number) {
    this.#u32[this.#w + W.blocks] = blocks;
    this.#u32[this.#w + W.blocks + 1] = Math.floor(blocks / HIGH);
  }
  get blksize(): number {
    return this.#u32[this.#w + STATX.blksize / 4];
  }

  /** STATX_ATTR_*, the lower half. */
  get attributes(): number {
    return this.#u32[this.#w + STATX.attributes / 4];
  }
  get devMajor(): number {
    return this.#u32[this.#w + STATX.dev_major / 4];
  }
  get devMinor(): number {
    return this.#u32[this.#w + STATX.dev_minor / 4];
  }
  /** The device as one exact number. */
  get dev(): number {
    return this.devMajor * 0x100_0000 + this.devMinor;
  }
  /** The device that a device node stands for. */
  get rdevMajor(): number {
    return this.#u32[this.#w + STATX.rdev_major / 4];
  }
  set rdevMajor(major: number) {
    this.#u32[this.#w + STATX.rdev_major / 4] = major;
  }
  get rdevMinor(): number {
    return this.#u32[this.#w + STATX.rdev_minor / 4];
  }
  set rdevMinor(minor: number) {
    this.#u32[this.#w + STATX.rdev_minor / 4] = minor;
  }
  /** With STATX_MNT_ID: the mount that the object was reached through. */
  get mountId(): number {
    return this.#u32[this.#w + W_MOUNT_ID] + this.#u32[this.#w + W_MOUNT_ID + 1] * HIGH;
  }

  /** Seconds may be negative; rounded above 2^53. */
  get atime(): number {
    return this.#seconds(W.atime);
  }
  get atimeNsec(): number {
    return this.#u32[this.#w + W.atime + 2];
  }
  get mtime(): number {
    return this.#seconds(W.mtime);
  }
  get mtimeNsec(): number {
    return this.#u32[this.#w + W.mtime + 2];
  }
  #seconds(time: number): number {
    const w = this.#w + time;
    return this.#u32[w] + (this.#u32[w + 1] | 0) * HIGH;
  }
  /** Time of change: the seconds in halves, and the nanoseconds. */
  get ctimeLo(): number {
    return this.#u32[this.#w + W.ctime];
  }
  get ctimeHi(): number {
    return this.#u32[this.#w + W.ctime + 1];
  }
  get ctimeNsec(): number {
    return this.#u32[this.#w + W.ctime + 2];
  }

  /** Time of change of the same object, read later. */
  ctimeFrom(other: Stat): void {
    const from = (other.at >> 2) + W.ctime;
    this.#u32.copyWithin(this.#w + W.ctime, from, from + TIME_WORDS);
  }
  copyFrom(other: Stat): void {
    this.#u8.copyWithin(this.at, other.at, other.at + STATX.size);
  }
  /** A copy that outlives the request. */
  save(): Uint32Array {
    return this.#u32.slice(this.#w, this.#w + STATX.size / 4);
  }
  /** The same, to where there is room for it. */
  saveTo(words: Uint32Array): void {
    words.set(this.#u32.subarray(this.#w, this.#w + STATX.size / 4));
  }
  load(saved: Uint32Array): void {
    this.#u32.set(saved, this.#w);
  }
  /** Access and modification time of a saved one. */
  loadTimes(saved: Uint32Array): void {
    for (const time of [W.atime, W.mtime]) {
      this.#u32.set(saved.subarray(time, time + TIME_WORDS), this.#w + time);
    }
  }

  /** What no file system tells: who reads it had no right to. */
  poison(): void {
    this.#u8.fill(0xa5, this.at, this.at + STATX.size);
  }
}

/** The size of a saved one, in halves. */
export const savedSize = (saved: Uint32Array): [lo: number, hi: number] => [
  saved[W.size],
  saved[W.size + 1],
];

/** The views of a thread. Requests come one at a time, so all mounts of the thread share them. */
export class Stats {
  /** The object that a reply is about; only src/fuse fills it or passes it on. */
  readonly reply: Stat;
  /** What the last lookup found (`Hit.stat`). */
  readonly hit: Stat;
  /** In a lookup: an object below the topmost one. */
  readonly lower: Stat;
  /** An entry of the index of hard links. */
  readonly entry: Stat;
  /** The lower object that a copy was made of. */
  readonly origin: Stat;
  /** In a copy-up: the object that is copied, and its copy. */
  readonly source: Stat;
  readonly copy: Stat;
  /** The directory that a name is made in. */
  readonly parent: Stat;
  /** A node's attributes that decide a change of its own. */
  readonly attrs: Stat;
  /** One entry of a directory that is read. */
  readonly listed: Stat;
  /** Read at once, before anything else is called but with it as an argument. */
  readonly probe: Stat;

  constructor(memory: ArrayBuffer) {
    let at = SCRATCH;
    const next = (): Stat => {
      const stat = new Stat(memory, at);
      at += STATX.size;
      return stat;
    };
    this.reply = next();
    this.hit = next();
    this.lower = next();
    this.entry = next();
    this.origin = next();
    this.source = next();
    this.copy = next();
    this.parent = next();
    this.attrs = next();
    this.listed = next();
    this.probe = next();
  }
}

/** Bytes of scratch memory that are kept for the views. */
export const STATS_SIZE = 0x1000;

/** Set in the tests of the engine: see `spoil`. */
export const SPOILS = process.env.STRATAFS_SPOIL === '1';

/**
 * Called where a function begins that may overwrite these views: in the tests it always does, so that
 * a caller that holds one of them fails at once, and not only in the rare case in which it is filled.
 */
export function spoil(...stats: readonly Stat[]): void {
  for (const stat of stats) stat.poison();
}
