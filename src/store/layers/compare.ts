/**
 * Two trees, object by object: type, mode, owner, times, size, content, link target, device, xattrs.
 * Directories are opened one by one and names looked up in them, so that no symlink leads elsewhere.
 */
import {
  type BigIntStats,
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { UserError, errnoText } from '../../base/errno.js';
import { display } from '../../base/bytes.js';
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from '../../sys/constants.js';
import { bytes } from '../../sys/paths.js';
import { Sys, XATTR_LIST, XATTR_MAX } from '../../sys/sys.js';
import { unlessMissing } from '../state/files.js';

export interface Difference {
  /** From the layer's root; bytes (latin1). */
  readonly path: string;
  /** `missing`, `added`, or what is different: `content`, `mode`, `owner` … */
  readonly what: string;
}

/** Enough to know what is wrong; a tree that is another one altogether is not listed whole. */
const MOST = 1000;
const PIECE = 1 << 18;

class Comparison {
  readonly differences: Difference[] = [];
  readonly #sys = new Sys();
  readonly #begun: bigint;
  readonly #left = Buffer.allocUnsafe(PIECE);
  readonly #right = Buffer.allocUnsafe(PIECE);

  constructor(begun: number) {
    this.#begun = BigInt(Math.floor(begun)) * 1_000_000n;
  }

  get full(): boolean {
    return this.differences.length >= MOST;
  }

  directories(left: number, right: number, path: string): void {
    const own = entries(left);
    const other = new Set(entries(right));
    for (const name of own) {
      if (this.full) return;
      const below = path === '/' ? `/${name}` : `${path}/${name}`;
      if (other.delete(name)) this.#objects(left, right, name, below);
      else this.differences.push({ path: below, what: 'missing' });
    }
    for (const name of other)
      this.differences.push({ path: `${path === '/' ? '' : path}/${name}`, what: 'added' });
  }

  #objects(left: number, right: number, name: string, path: string): void {
    const a = look(left, name);
    const b = look(right, name);
    if (!a || !b) {
      this.differences.push({ path, what: 'missing' });
      return;
    }
    const what = this.attributes(a, b, left, right, name) ?? this.#data(a, left, right, name);
    if (what !== undefined) this.differences.push({ path, what });
    if (a.isDirectory() && b.isDirectory()) this.#descend(left, right, name, path);
  }

  #descend(left: number, right: number, name: string, path: string): void {
    const a = openAt(left, name, O_DIRECTORY);
    try {
      const b = openAt(right, name, O_DIRECTORY);
      try {
        this.directories(a, b, path);
      } finally {
        closeSync(b);
      }
    } finally {
      closeSync(a);
    }
  }

  /** The first attribute that differs. An empty `name` means the directories themselves. */
  attributes(
    a: BigIntStats,
    b: BigIntStats,
    left: number,
    right: number,
    name: string,
  ): string | undefined {
    const S_IFMT = 0o170000n;
    if ((a.mode & S_IFMT) !== (b.mode & S_IFMT)) return 'type';
    if (a.mode !== b.mode) return 'mode';
    if (a.uid !== b.uid || a.gid !== b.gid) return 'owner';
    if (a.isFile() && a.size !== b.size) return 'size';
    if (a.isFile() && a.nlink !== b.nlink) return 'links';
    if ((a.isCharacterDevice() || a.isBlockDevice()) && a.rdev !== b.rdev) return 'device';
    if (a.mtimeNs !== b.mtimeNs && a.mtimeNs < this.#begun) return 'time';
    return this.#xattrs(left, name) === this.#xattrs(right, name) ? undefined : 'xattrs';
  }

  #xattrs(dirfd: number, name: string): string {
    const length = this.#sys.native.listxattr(dirfd, name, XATTR_LIST, XATTR_MAX);
    // What keeps no xattrs has none.
    if (length <= 0) return '';
    const keys = this.#sys.text(XATTR_LIST, length).split('\0').filter(Boolean).sort();
    return keys.map((key) => `${key}=${this.#sys.xattr(dirfd, name, key)}`).join('\0');
  }

  #data(a: BigIntStats, left: number, right: number, name: string): string | undefined {
    if (a.isSymbolicLink()) return link(left, name) === link(right, name) ? undefined : 'target';
    if (!a.isFile()) return undefined;
    const own = openAt(left, name, 0);
    try {
      const other = openAt(right, name, 0);
      try {
        return this.#sameBytes(own, other) ? undefined : 'content';
      } finally {
        closeSync(other);
      }
    } finally {
      closeSync(own);
    }
  }

  #sameBytes(a: number, b: number): boolean {
    for (let at = 0; ; ) {
      const n = readSync(a, this.#left, 0, PIECE, at);
      const m = readSync(b, this.#right, 0, PIECE, at);
      if (n !== m || !this.#left.subarray(0, n).equals(this.#right.subarray(0, m))) return false;
      if (n === 0) return true;
      at += n;
    }
  }
}

/** One name in an open directory; only its last component is looked up, and no link followed. */
const at = (dirfd: number, name: string): Buffer => bytes(`/proc/self/fd/${dirfd}/${name}`);

const look = (dirfd: number, name: string): BigIntStats | undefined =>
  unlessMissing(() => lstatSync(at(dirfd, name), { bigint: true }));

const link = (dirfd: number, name: string): string =>
  readlinkSync(at(dirfd, name), { encoding: 'latin1' });

const openAt = (dirfd: number, name: string, flags: number): number =>
  openSync(at(dirfd, name), O_RDONLY | O_NOFOLLOW | flags);

const entries = (dirfd: number): string[] =>
  readdirSync(bytes(`/proc/self/fd/${dirfd}`), { encoding: 'latin1' }).sort();

/**
 * What is different in `found` from what it should be; at most some 1,000 differences. `begun`
 * (milliseconds since 1970) is when `expected` began to be made: a time after it comes from the making, as
 * a whiteout's does and that of a directory which the archive only implies. Throws UserError.
 */
export function compareTrees(expected: string, found: string, begun: number): Difference[] {
  const comparison = new Comparison(begun);
  const left = openSync(bytes(expected), O_RDONLY | O_DIRECTORY);
  try {
    const right = unlessMissing(() => openSync(bytes(found), O_RDONLY | O_DIRECTORY));
    if (right === undefined) return [{ path: '/', what: 'missing' }];
    try {
      const stat = (path: string) => lstatSync(bytes(path), { bigint: true });
      const what = comparison.attributes(stat(expected), stat(found), left, right, '');
      if (what !== undefined) comparison.differences.push({ path: '/', what });
      comparison.directories(left, right, '/');
    } finally {
      closeSync(right);
    }
  } catch (error) {
    // EIO: the disk cannot read what it holds. That is a finding, but not one to go on after.
    if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') {
      throw new UserError(`cannot read layer ${display(found)}: ${errnoText(error.errno)}`);
    }
    throw error;
  } finally {
    closeSync(left);
  }
  return comparison.differences;
}
