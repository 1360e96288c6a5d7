/**
 * The directories of a layer while it is written. Descriptors are kept of those in use, opened beneath the
 * root. A directory gets its times, mode and default ACL back when the last object in it has been made. So
 * nothing is remembered about directories, however many there are.
 */
import { E, errnoText, UserError } from '../base/errno.js';
import { isDir } from '../base/mode.js';
import { DEFAULT_ACL } from '../layer/xattrs.js';
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, RESOLVE_LAYER, STATX_TYPE } from '../sys/constants.js';
import { type Sys, XATTR } from '../sys/sys.js';
import { shown } from './limits.js';
import { split, steps } from './names.js';

/** Descriptors held at most; an archive has few directories in use at a time. */
const HELD = 64;
const OPEN_DIR = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
const RWX = 0o700;

export interface OpenDir {
  readonly path: string;
  readonly fd: number;
  /** A new object gets the directory's group. */
  readonly setgid: boolean;
  readonly mtime: number;
  readonly mtimeNs: number;
  /** To be set again; undefined: as it is. */
  readonly mode: number | undefined;
  readonly defaultAcl: string | undefined;
}

/** Makes the directory `name` that no entry has described yet; throws. */
type MakeImplied = (parent: OpenDir, name: string, path: string) => void;

export class Tree {
  readonly sys: Sys;
  readonly root: number;
  readonly #open = new Map<string, OpenDir>();

  /** `root` stays the caller's. */
  constructor(sys: Sys, root: number) {
    this.sys = sys;
    this.root = root;
  }

  /** The root, for its own attributes; nothing is saved of it. */
  get top(): Pick<OpenDir, 'fd' | 'setgid'> {
    return { fd: this.root, setgid: false };
  }

  /** The directory at `path`, which must exist: undefined when nothing is there. Throws where it is no directory. */
  find(path: string): OpenDir | undefined {
    const held = this.#open.get(path);
    if (held) {
      this.#open.delete(path);
      this.#open.set(path, held);
      return held;
    }
    const fd = this.#openBeneath(path);
    if (fd === -E.ENOENT) return undefined;
    if (fd < 0) throw wayError(path, fd);
    return this.#hold(path, fd);
  }

  /** The same; made with its parents where it does not exist, or `make` replaces what is in its place. */
  need(path: string, make: MakeImplied): OpenDir {
    const held = this.#open.get(path);
    if (held) return this.find(path) as OpenDir;
    const fd = this.#openBeneath(path);
    if (fd >= 0) return this.#hold(path, fd);
    // ENOTDIR: perhaps a whiteout, which `make` may replace.
    if ((fd !== -E.ENOENT && fd !== -E.ENOTDIR) || path === '') throw wayError(path, fd);
    const [parent, name] = split(path);
    make(this.need(parent, make), name, path);
    const made = this.find(path);
    if (!made) throw wayError(path, -E.ENOENT);
    return made;
  }

  /** Leaves what is held below the directory at `path`. */
  leaveBelow(path: string): void {
    for (const held of [...this.#open.values()]) {
      if (held.path !== path && (path === '' || held.path.startsWith(`${path}/`))) {
        this.#leave(held);
      }
    }
  }

  /** What lies at `path` is about to be removed: nothing is to be set again. */
  forget(path: string): void {
    for (const [held, { fd }] of this.#open) {
      if (held !== path && !held.startsWith(`${path}/`)) continue;
      this.#open.delete(held);
      this.sys.native.close(fd);
    }
  }

  /** Undefined: nothing is there. */
  isDir(dir: number, name: string): boolean | undefined {
    const { sys } = this;
    const found = sys.statName(dir, name, sys.stats.probe, STATX_TYPE);
    if (found === -E.ENOENT) return undefined;
    if (found < 0) throw wayError(name, found);
    return isDir(sys.stats.probe.mode);
  }

  /** An entry describes the directory at `path` anew: what was saved of it is old. */
  settle(path: string): void {
    const held = this.#open.get(path);
    if (held) this.#leave(held);
  }

  /** Leaves all directories. Throws when one cannot be given back what it had. */
  close(): void {
    for (const held of [...this.#open.values()]) this.#leave(held);
  }

  /** Leaves all as they are. */
  abandon(): void {
    for (const { fd } of this.#open.values()) this.sys.native.close(fd);
    this.#open.clear();
  }

  #openBeneath(path: string): number {
    const { sys } = this;
    if (path === '') return sys.open(this.root, '.', OPEN_DIR, 0, RESOLVE_LAYER);
    let fd = this.root;
    for (const step of steps(path)) {
      const next = sys.open(fd, step, OPEN_DIR, 0, RESOLVE_LAYER);
      if (fd !== this.root) sys.native.close(fd);
      if (next === -E.EACCES) return this.#openClosed(path);
      if (next < 0) return next;
      fd = next;
    }
    return fd;
  }

  /**
   * A directory on the way may not be entered, by one who may nevertheless change its mode:
   * opening it from above does.
   */
  #openClosed(path: string): number {
    const [parent, name] = split(path);
    if (path === '') return -E.EACCES;
    const above = this.find(parent);
    if (!above) return -E.ENOENT;
    const { sys } = this;
    const fd = sys.open(above.fd, name, OPEN_DIR, 0, RESOLVE_LAYER);
    if (fd !== -E.EACCES) return fd;
    const { probe } = sys.stats;
    const found = sys.statName(above.fd, name, probe);
    if (found < 0) return found;
    const mode = probe.mode & 0o7777;
    const widened = sys.native.fchmodat(above.fd, name, mode | RWX);
    if (widened < 0) return widened;
    const opened = sys.open(above.fd, name, OPEN_DIR, 0, RESOLVE_LAYER);
    if (opened >= 0) this.#closedModes.set(path, mode);
    return opened;
  }

  readonly #closedModes = new Map<string, number>();

  #hold(path: string, fd: number): OpenDir {
    const { sys } = this;
    const { native } = sys;
    const { probe } = sys.stats;
    const found = sys.statFd(fd, probe);
    if (found < 0) {
      native.close(fd);
      throw wayError(path, found);
    }
    const now = probe.mode & 0o7777;
    const mode = this.#closedModes.get(path) ?? now;
    this.#closedModes.delete(path);
    const { mtime, mtimeNsec: mtimeNs } = probe;
    const closed = (mode & RWX) !== RWX;
    if (closed && now === mode) native.fchmodat(fd, '', mode | RWX);
    const acl = sys.xattr(fd, '', DEFAULT_ACL);
    const defaultAcl = typeof acl === 'string' ? acl : undefined;
    // While it is there, every new object would inherit it.
    if (defaultAcl !== undefined) native.removexattr(fd, '', DEFAULT_ACL);
    const setgid = (mode & 0o2000) !== 0;
    const held = { path, fd, setgid, mtime, mtimeNs, mode: closed ? mode : undefined, defaultAcl };
    this.#open.set(path, held);
    if (this.#open.size > HELD) this.#leave(this.#open.values().next().value as OpenDir);
    return held;
  }

  #leave(dir: OpenDir): void {
    const { native } = this.sys;
    this.#open.delete(dir.path);
    const { mtime, mtimeNs } = dir;
    let code = native.utimensat(dir.fd, '.', mtime, mtimeNs, mtime, mtimeNs, 0);
    if (code >= 0 && dir.defaultAcl !== undefined) {
      const size = this.sys.put(dir.defaultAcl, XATTR);
      code = native.setxattr(dir.fd, '', DEFAULT_ACL, XATTR, size, 0);
    }
    if (code >= 0 && dir.mode !== undefined) code = native.fchmodat(dir.fd, '', dir.mode);
    native.close(dir.fd);
    if (code < 0) {
      throw new UserError(
        `cannot restore the attributes of directory ${shown(dir.path)}: ${errnoText(code)}`,
      );
    }
  }
}

/** A directory cannot be reached. */
function wayError(path: string, code: number): UserError {
  const where = path === '' ? 'the root' : shown(path);
  if (code === -E.ELOOP || code === -E.ENOTDIR || code === -E.EXDEV) {
    return new UserError(
      `the archive is refused: an entry lies below ${where}, where a symlink or another object is no directory`,
    );
  }
  return new UserError(`cannot open directory ${where} of the layer: ${errnoText(code)}`);
}
