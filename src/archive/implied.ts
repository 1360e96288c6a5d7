/** Makes directories that names of an archive imply and no entry describes. */
import { E } from '../base/errno.js';
import { isDir, S_IFMT } from '../base/mode.js';
import { noXattr } from '../layer/absence.js';
import { isPrivate, TRUSTED } from '../layer/xattrs.js';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RESOLVE_LAYER,
} from '../sys/constants.js';
import { type Sys, XATTR_LIST, XATTR_MAX } from '../sys/sys.js';
import type { Described } from './attributes.js';
import { failed } from './attributes.js';
import { steps } from './names.js';

const NONE: ReadonlyMap<string, string> = new Map();

/** Tells how such a directory is to be: as the topmost lower layer has it, else 0755 and root's. */
export class Implied {
  readonly #sys: Sys;
  readonly #prefix: string;
  readonly #roots: number[] = [];

  constructor(sys: Sys, lowers: readonly string[], prefix: string) {
    this.#sys = sys;
    this.#prefix = prefix;
    for (const path of lowers) {
      const fd = sys.open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, 0);
      if (fd < 0) {
        this.close();
        throw failed('open layer', { name: path }, fd);
      }
      this.#roots.push(fd);
    }
  }

  describe(path: string): Described {
    for (const root of this.#roots) {
      const found = this.#ask(root, path);
      // Something else in its place hides the directories below.
      if (found === 'other') break;
      if (found) return found;
    }
    const plain = { mode: 0o755, uid: 0, gid: 0, mtime: 0, mtimeNs: 0, xattrs: NONE };
    return { ...plain, name: path, type: 'dir' };
  }

  /** The root, where lower layers are known: a union shows the topmost one's. */
  root(): Described | undefined {
    const [top] = this.#roots;
    const found = this.#roots.length === 0 ? undefined : this.#described(top, '');
    return found === 'other' ? undefined : found;
  }

  close(): void {
    for (const fd of this.#roots) this.#sys.native.close(fd);
    this.#roots.length = 0;
  }

  #ask(root: number, path: string): Described | 'other' | undefined {
    const { native } = this.#sys;
    let fd = root;
    for (const step of steps(path)) {
      const next = this.#sys.open(fd, step, O_PATH | O_NOFOLLOW, 0, RESOLVE_LAYER);
      if (fd !== root) native.close(fd);
      if (next === -E.ENOENT) return undefined;
      if (next === -E.ENOTDIR || next === -E.ELOOP) return 'other';
      if (next < 0) throw failed('look at a lower layer for', { name: path }, next);
      fd = next;
    }
    try {
      return this.#described(fd, path);
    } finally {
      native.close(fd);
    }
  }

  #described(fd: number, path: string): Described | 'other' {
    const { probe } = this.#sys.stats;
    const found = this.#sys.statFd(fd, probe);
    if (found < 0) throw failed('look at a lower layer for', { name: path }, found);
    const { mode, uid, gid, mtime, mtimeNsec } = probe;
    if (!isDir(mode)) return 'other';
    return {
      name: path,
      type: 'dir',
      mode: mode & ~S_IFMT,
      uid,
      gid,
      mtime,
      mtimeNs: mtimeNsec,
      xattrs: this.#xattrs(fd, path),
    };
  }

  #xattrs(dir: number, path: string): ReadonlyMap<string, string> {
    const fd = this.#sys.open(dir, '.', O_RDONLY | O_DIRECTORY, 0, RESOLVE_LAYER);
    if (fd < 0) throw failed('look at a lower layer for', { name: path }, fd);
    const { native } = this.#sys;
    const xattrs = new Map<string, string>();
    const bytes = native.listxattr(fd, '', XATTR_LIST, XATTR_MAX);
    let code = noXattr(bytes) ? 0 : Math.min(bytes, 0);
    const keys = bytes > 0 ? this.#sys.text(XATTR_LIST, bytes - 1).split('\0') : [];
    for (const key of keys) {
      if (isPrivate(key, this.#prefix) || isPrivate(key, TRUSTED)) continue;
      const value = this.#sys.xattr(fd, '', key);
      if (typeof value === 'string') xattrs.set(key, value);
      else if (!noXattr(value)) code = value;
    }
    native.close(fd);
    if (code < 0) throw failed('read the xattrs of a lower layer for', { name: path }, code);
    return xattrs;
  }
}
