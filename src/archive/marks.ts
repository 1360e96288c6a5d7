/**
 * Applies whiteouts while an archive is unpacked. A whiteout hides what lower layers have, and never what the
 * same archive has, in either order (OCI image specification, "Whiteouts").
 */
import { E, errnoText, UserError } from '../base/errno.js';
import { DT_REG, isDir } from '../base/mode.js';
import { noName, refusesDevices } from '../layer/absence.js';
import { readEntries } from '../layer/directory.js';
import {
  dirMarks,
  dotHidden,
  isDeviceWhiteout,
  isDotMark,
  isXWhiteout,
  makeWhiteout,
  makeXWhiteout,
} from '../layer/whiteout.js';
import { O_DIRECTORY, O_PATH, RESOLVE_LAYER } from '../sys/constants.js';
import { type Sys, XATTR } from '../sys/sys.js';
import { refused, shown } from './limits.js';
import { removeAt, removeBelow } from './remove.js';
import type { OpenDir, Tree } from './tree.js';

/** `.wh..wh..opq`; what else begins with `.wh..wh.` is AUFS's own and says nothing. */
const OPAQUE = '.wh..wh..opq';
const META = '.wh..wh.';

export interface Marks {
  /** Takes an entry whose last name begins with `.wh.`; false: it is made like any other. */
  take(parent: OpenDir, name: string, entry: string): boolean;
  /**
   * Name `name` of `parent` is taken by what hides nothing of this layer; true when a directory
   * in its place must be opaque.
   */
  isWhiteout(parent: OpenDir, name: string): boolean;
  /** The directory `name` has been made in place of a whiteout. */
  cover(parent: OpenDir, name: string, entry: string): void;
  /** An object has been made. */
  made(path: string): void;
}

/** The name that a whiteout hides. */
function hiddenName(name: string, entry: string): string {
  const hidden = dotHidden(name);
  if (hidden === undefined || hidden === '.' || hidden === '..') {
    throw refused(entry, 'is a whiteout of nothing');
  }
  return hidden;
}

const fail = (entry: string, code: number): UserError =>
  new UserError(`cannot make the whiteout ${shown(entry)}: ${errnoText(code)}`);

/** Files they stay. */
export class AufsMarks implements Marks {
  take(): boolean {
    return false;
  }
  isWhiteout(): boolean {
    return false;
  }
  cover(): void {
    // Nothing is ever a whiteout on disk here but a `.wh.` file.
  }
  made(): void {
    // Nothing depends on it.
  }
}

/** 0:0 devices, or xwhiteouts, and `opaque`. */
export class OverlayMarks implements Marks {
  readonly #sys: Sys;
  readonly #prefix: string;
  /** This layer takes no device nodes. */
  #files = false;

  constructor(sys: Sys, prefix: string) {
    this.#sys = sys;
    this.#prefix = prefix;
  }

  take(parent: OpenDir, name: string, entry: string): boolean {
    if (!isDotMark(name)) return false;
    if (name === OPAQUE) this.#opaque(parent.fd, '.', entry);
    else if (!name.startsWith(META)) this.#hide(parent, hiddenName(name, entry), entry);
    return true;
  }

  isWhiteout(parent: OpenDir, name: string): boolean {
    return this.#look(parent.fd, name) === 'whiteout';
  }

  cover(parent: OpenDir, name: string, entry: string): void {
    this.#opaque(parent.fd, name, entry);
  }

  made(): void {
    // What is there can be seen on disk.
  }

  #look(dir: number, name: string): 'nothing' | 'whiteout' | 'dir' | 'other' {
    const { probe } = this.#sys.stats;
    const found = this.#sys.statName(dir, name, probe);
    if (noName(found)) return 'nothing';
    if (found < 0) throw fail(name, found);
    if (isDeviceWhiteout(probe)) return 'whiteout';
    const marked = this.#files ? isXWhiteout(this.#sys, dir, name, probe, this.#prefix) : 0;
    if (marked < 0) throw fail(name, marked);
    if (marked > 0) return 'whiteout';
    return isDir(probe.mode) ? 'dir' : 'other';
  }

  #hide(parent: OpenDir, name: string, entry: string): void {
    const there = this.#look(parent.fd, name);
    // The directory came first: it stays, and what lower layers have in it does not show.
    if (there === 'dir') this.#opaque(parent.fd, name, entry);
    if (there !== 'nothing') return;
    let code = this.#files ? -E.EPERM : makeWhiteout(this.#sys, parent.fd, name);
    if (code < 0 && refusesDevices(code)) {
      this.#files = true;
      code = this.#hideByFile(parent.fd, name);
    }
    if (code < 0) throw fail(entry, code);
  }

  /** Files are whiteouts where the directory says so; in an opaque one there is nothing to hide. */
  #hideByFile(dir: number, name: string): number {
    const marks = dirMarks(this.#sys, dir, '.', false, this.#prefix);
    if (typeof marks === 'number') return marks;
    if (marks.opaque) return 0;
    const code = marks.xwhiteouts ? 0 : this.#mark(dir, '.', 'x');
    return code < 0 ? code : makeXWhiteout(this.#sys, dir, name, this.#prefix);
  }

  #mark(dir: number, name: string, value: string): number {
    const size = this.#sys.put(value, XATTR);
    return this.#sys.native.setxattr(dir, name, `${this.#prefix}opaque`, XATTR, size, 0);
  }

  #opaque(dir: number, name: string, entry: string): void {
    let code = this.#files ? this.#dropFiles(dir, name) : 0;
    if (code >= 0) code = this.#mark(dir, name, 'y');
    if (code < 0) throw fail(entry, code);
  }

  /** In an opaque directory xwhiteouts would show as files. */
  #dropFiles(dir: number, name: string): number {
    const marks = dirMarks(this.#sys, dir, name, false, this.#prefix);
    if (typeof marks === 'number' || !marks.xwhiteouts)
      return typeof marks === 'number' ? marks : 0;
    const { native } = this.#sys;
    const files = new Set<string>();
    const fd = this.#sys.open(dir, name, O_PATH | O_DIRECTORY, 0, RESOLVE_LAYER);
    if (fd < 0) return fd;
    try {
      const read = readEntries(this.#sys, fd, (entry, type) => {
        if (type === DT_REG) files.add(entry);
      });
      if (read < 0) return read;
      for (const file of files) {
        if (this.#look(fd, file) !== 'whiteout') continue;
        const code = native.unlinkat(fd, file, 0);
        if (code < 0) return code;
      }
      return 0;
    } finally {
      native.close(fd);
    }
  }
}

/** What they name is removed from the tree, but for what this archive brought. */
export class AppliedMarks implements Marks {
  readonly #tree: Tree;
  readonly #sys: Sys;
  readonly #made = new Set<string>();

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#sys = tree.sys;
  }

  take(parent: OpenDir, name: string, entry: string): boolean {
    if (!isDotMark(name)) return false;
    const gone = (path: string): boolean => !this.#made.has(path);
    let code = 0;
    // What is removed may be held, and would be taken for what comes in its place.
    this.#tree.leaveBelow(parent.path);
    if (name === OPAQUE) code = removeBelow(this.#sys, parent.fd, '.', parent.path, gone);
    else if (!name.startsWith(META)) {
      const hidden = hiddenName(name, entry);
      const path = parent.path === '' ? hidden : `${parent.path}/${hidden}`;
      code = gone(path)
        ? removeAt(this.#sys, parent.fd, hidden)
        : removeBelow(this.#sys, parent.fd, hidden, path, gone);
      if (code === -E.ENOTDIR || code === -E.ELOOP) code = 0; // The archive's own file.
    }
    if (code < 0) throw fail(entry, code);
    return true;
  }

  isWhiteout(): boolean {
    return false;
  }

  cover(): void {
    // There are no whiteouts on disk.
  }

  made(path: string): void {
    this.#made.add(path);
  }
}
