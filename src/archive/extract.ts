/**
 * Makes the objects of an archive beneath a root. Every name is resolved from the root's descriptor, and no
 * link is followed. Every object is new (O_EXCL, mknod, link ...), so nothing is written through an object
 * that was there before.
 */
import { writeSync } from 'node:fs';
import { E, errnoText, UserError } from '../base/errno.js';
import { S_IFBLK, S_IFCHR, S_IFIFO } from '../base/mode.js';
import { refusesDevices } from '../layer/absence.js';
import { isDotMark, makeNested } from '../layer/whiteout.js';
import { TRUSTED, USER } from '../layer/xattrs.js';
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY, RESOLVE_LAYER } from '../sys/constants.js';
import type { Sys } from '../sys/sys.js';
import { overflowIds } from '../sys/userns.js';
import { Attributes, failed } from './attributes.js';
import { Implied } from './implied.js';
import { DEFAULT_LIMITS, refused, shown } from './limits.js';
import { AppliedMarks, AufsMarks, type Marks, OverlayMarks } from './marks.js';
import { beneath, split } from './names.js';
import type { TarVisitor } from './parser.js';
import { removeAt } from './remove.js';
import { type OpenDir, Tree } from './tree.js';
import type { Entry, UnpackOptions } from './types.js';
import { Warnings } from './warnings.js';

const NEW_FILE = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
const META = '.wh..wh.';

/** The file being written. */
interface Writing {
  readonly entry: Entry;
  readonly dir: OpenDir;
  readonly name: string;
  readonly fd: number;
  /** The end of what has been written. */
  end: number;
}

export class Extractor implements TarVisitor {
  readonly warnings = new Warnings();
  /** Bytes of all files. */
  dataSize = 0;
  readonly #sys: Sys;
  readonly #tree: Tree;
  readonly #marks: Marks;
  readonly #attributes: Attributes;
  readonly #implied: Implied;
  readonly #depth: number;
  readonly #form: NonNullable<UnpackOptions['whiteouts']>;
  #file: Writing | undefined;
  #rootEntry: Entry | undefined;

  /** `root` stays the caller's. */
  constructor(sys: Sys, root: number, options: UnpackOptions) {
    this.#sys = sys;
    this.#tree = new Tree(sys, root);
    this.#form = options.whiteouts ?? 'overlay';
    this.#depth = options.limits?.depth ?? DEFAULT_LIMITS.depth;
    const prefix = options.userxattr === true ? USER : TRUSTED;
    this.#implied = new Implied(sys, options.lowers ?? [], prefix);
    this.#attributes = new Attributes(sys, options, this.warnings);
    if (this.#form === 'overlay') this.#marks = new OverlayMarks(sys, prefix);
    else this.#marks = this.#form === 'aufs' ? new AufsMarks() : new AppliedMarks(this.#tree);
  }

  entry(entry: Entry): void {
    const path = beneath(entry.name, entry.name, this.#depth);
    if (path === '') {
      if (entry.type !== 'dir') throw refused(entry.name, 'would replace the root');
      this.#rootEntry = entry;
      return;
    }
    const [above, name] = split(path);
    if (above.includes('.wh.') && isBelowMark(above, entry.name)) return;
    const parent = this.#tree.need(above, (dir, part, full) => this.#imply(dir, part, full));
    if (isDotMark(name) && this.#marks.take(parent, name, entry.name)) return;
    this.#make(parent, name, path, entry);
    this.#marks.made(path);
  }

  data(bytes: Buffer, at: number, length: number, offset: number): void {
    const file = this.#file;
    if (!file) return;
    file.end = offset + length;
    try {
      for (let done = 0; done < length; ) {
        done += writeSync(file.fd, bytes, at + done, length - done, offset + done);
      }
    } catch (error) {
      throw failed('write', file.entry, (error as NodeJS.ErrnoException).errno ?? -E.EIO);
    }
  }

  end(): void {
    const file = this.#file;
    if (!file) return;
    const { entry, dir, name, fd } = file;
    this.#file = undefined;
    try {
      if (file.end < entry.size) this.#extend(fd, entry);
      this.#attributes.apply(dir, name, entry, fd, true);
    } finally {
      this.#sys.native.close(fd);
    }
  }

  /** All entries have been made. */
  finish(): void {
    this.#tree.close();
    // Last: until here the root is as its owner made it, should anything fail.
    const entry = this.#rootEntry ?? this.#implied.root();
    this.#implied.close();
    if (entry) this.#attributes.apply(this.#tree.top, '.', entry, -1, false);
  }

  /** The archive ended in an error: lets go of everything. */
  abandon(): void {
    if (this.#file) this.#sys.native.close(this.#file.fd);
    this.#file = undefined;
    this.#tree.abandon();
    this.#implied.close();
  }

  #extend(fd: number, entry: Entry): void {
    const { size } = entry;
    const code = this.#sys.native.ftruncate(fd, size >>> 0, Math.floor(size / 0x1_0000_0000));
    if (code < 0) throw failed('write', entry, code);
  }

  #imply(parent: OpenDir, name: string, path: string): void {
    const { native } = this.#sys;
    let code = native.mkdirat(parent.fd, name, 0o700);
    const covers = code === -E.EEXIST && this.#marks.isWhiteout(parent, name);
    if (covers) {
      native.unlinkat(parent.fd, name, 0);
      code = native.mkdirat(parent.fd, name, 0o700);
    }
    if (code === -E.EEXIST) {
      throw new UserError(
        `the archive is refused: an entry lies below ${shown(path)}, which is no directory`,
      );
    }
    const entry = this.#implied.describe(path);
    if (code < 0) throw failed('make directory', entry, code);
    this.#attributes.apply(parent, name, entry, -1, true);
    if (covers) this.#marks.cover(parent, name, path);
    this.#marks.made(path);
  }

  #make(parent: OpenDir, name: string, path: string, entry: Entry): void {
    switch (entry.type) {
      case 'file':
        this.#makeFile(parent, name, path, entry);
        return;
      case 'dir':
        this.#makeDir(parent, name, path, entry);
        return;
      case 'link':
        this.#makeLink(name, path, entry);
        return;
      default:
        if (this.#makeOther(parent, name, path, entry)) {
          this.#attributes.apply(parent, name, entry, -1, true);
        }
    }
  }

  /** Tries, and once more when what stood in its place has been removed. Returns the result or throws. */
  #place(dir: OpenDir, name: string, path: string, entry: Entry, attempt: () => number): number {
    let code = attempt();
    if (code === -E.EEXIST) {
      this.#tree.forget(path);
      const removed = removeAt(this.#sys, dir.fd, name);
      code = removed < 0 ? removed : attempt();
    }
    if (code < 0 && !(refusesDevices(code) && isDevice(entry))) throw failed('make', entry, code);
    return code;
  }

  #makeFile(dir: OpenDir, name: string, path: string, entry: Entry): void {
    const open = (): number => this.#sys.open(dir.fd, name, NEW_FILE, 0o600, RESOLVE_LAYER);
    const fd = this.#place(dir, name, path, entry, open);
    this.#file = { entry, dir, name, fd, end: 0 };
    this.dataSize += entry.size;
  }

  #makeDir(dir: OpenDir, name: string, path: string, entry: Entry): void {
    const { native } = this.#sys;
    const covers = { whiteout: false };
    let fresh = true;
    const attempt = (): number => {
      const code = native.mkdirat(dir.fd, name, 0o700);
      if (code !== -E.EEXIST) return code;
      // A directory that is there stays, with what is in it.
      this.#tree.settle(path);
      if (this.#tree.isDir(dir.fd, name)) {
        fresh = false;
        return 0;
      }
      covers.whiteout = this.#marks.isWhiteout(dir, name);
      return code;
    };
    this.#place(dir, name, path, entry, attempt);
    this.#attributes.apply(dir, name, entry, -1, fresh);
    if (covers.whiteout) this.#marks.cover(dir, name, entry.name);
  }

  #makeLink(name: string, path: string, entry: Entry): void {
    const target = beneath(entry.name, entry.target, this.#depth, 'links to');
    const [above, targetName] = split(target);
    const why = `links to ${shown(entry.target)}, which is not in the archive`;
    const from = target === '' ? undefined : this.#tree.find(above);
    if (!from || this.#marks.isWhiteout(from, targetName)) throw refused(entry.name, why);
    if (target === path) return;
    const dir = this.#tree.find(split(path)[0]) as OpenDir;
    const { native } = this.#sys;
    const link = (): number => native.linkat(from.fd, targetName, dir.fd, name, 0);
    const found = this.#tree.isDir(from.fd, targetName);
    if (found) throw refused(entry.name, `links to ${shown(entry.target)}, which is a directory`);
    if (found === undefined) throw refused(entry.name, why);
    this.#place(dir, name, path, entry, link);
  }

  /** False: this machine cannot have it, and a warning says so. */
  #makeOther(dir: OpenDir, name: string, path: string, entry: Entry): boolean {
    const { native } = this.#sys;
    const { mode, major, minor } = entry;
    const type = entry.type === 'char' ? S_IFCHR : entry.type === 'block' ? S_IFBLK : S_IFIFO;
    const hides = entry.type === 'char' && major === 0 && minor === 0 && this.#form !== 'apply';
    const attempt = (): number => {
      if (entry.type === 'symlink') return native.symlinkat(entry.target, dir.fd, name);
      // As an object of the union it must hide nothing.
      if (hides) return makeNested(this.#sys, dir.fd, name, type | (mode & 0o700));
      return native.mknodat(dir.fd, name, type | 0o600, major, minor);
    };
    const code = this.#place(dir, name, path, entry, attempt);
    if (code >= 0) return true;
    // Nobody may make devices in a user namespace: engines do without (containers/storage, moby).
    if (overflowIds() === undefined && !hides) throw failed('make', entry, code);
    this.warnings.add(
      `device nodes cannot be made here, ${errnoText(code)}, and were left out`,
      entry.name,
    );
    return false;
  }
}

const isDevice = ({ type }: Entry): boolean => type === 'char' || type === 'block';

/** True below AUFS's own directories, which are passed over; a whiteout is no directory. */
function isBelowMark(path: string, entry: string): boolean {
  const parts = path.split('/');
  const at = parts.findIndex(isDotMark);
  if (at < 0) return false;
  if (at === 0 && parts[0].startsWith(META)) return true;
  throw refused(entry, 'lies below a whiteout');
}
