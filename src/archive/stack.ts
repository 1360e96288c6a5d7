/**
 * Looks names up in a stack of bare layers, as kernel overlayfs does (ovl_lookup, ovl_lookup_layer), for an
 * export without a mount. It caches nothing. A merged directory is a list of open directories, topmost first.
 */
import { errnoText, UserError } from '../base/errno.js';
import { display } from '../base/bytes.js';
import { isDir, isReg } from '../base/mode.js';
import { noDataFile, noNameBelow, noXattr } from '../layer/absence.js';
import { closeLayer, type Layer, openLayer } from '../layer/layer.js';
import { readMetacopy } from '../layer/metacopy.js';
import {
  type DirMarks,
  dirMarks,
  dotWhiteout,
  isDeviceWhiteout,
  isXWhiteout,
  parseRedirect,
} from '../layer/whiteout.js';
import { TRUSTED, USER } from '../layer/xattrs.js';
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, RESOLVE_LAYER } from '../sys/constants.js';
import type { Stat } from '../sys/stat.js';
import type { Sys } from '../sys/sys.js';
import { shown } from './limits.js';

const OPEN_DIR = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** One layer's directory of a merged one. The function that asked for it closes its descriptor. */
export interface Part {
  /** Position of the layer in the stack. */
  readonly layer: number;
  readonly fd: number;
  /** Empty files in it may be whiteouts. */
  readonly xwhiteouts: boolean;
}

/** An object where it lies. `dir` is a part's descriptor, or, when `owned`, the asker's to close. */
export interface Found {
  readonly layer: number;
  readonly dir: number;
  readonly name: string;
  readonly owned: boolean;
}

export type Shown =
  | { readonly kind: 'nothing' }
  /** `data`: where the data of a metadata-only copy is. */
  | { readonly kind: 'object'; readonly object: Found; readonly data: Found | undefined }
  | { readonly kind: 'dir'; readonly parts: readonly Part[] };

const NOTHING: Shown = { kind: 'nothing' };

interface Walk {
  /** What is looked for; an absolute path, from the layers' roots, when it begins with "/". */
  name: string;
  parts: readonly Part[];
  at: number;
  object: Found | undefined;
  data: Found | undefined;
  readonly dirs: Part[];
  /** The object is a metadata-only copy whose data is looked for. */
  copy: boolean;
  /** A directory has a redirect that no layer has answered yet. */
  owed: boolean;
  /** Absolute redirect of the last copy. */
  absolute: string;
  stop: boolean;
}

export class Stack {
  readonly sys: Sys;
  readonly prefix: string;
  /** The merged root; its descriptors are the stack's. */
  readonly roots: Part[] = [];
  readonly #layers: Layer[] = [];
  readonly #dataLayers: Layer[] = [];
  /** Of the name that is asked for. */
  readonly #seen: Stat;

  /** Paths of layers, topmost first, and of data-only layers. Throws a UserError. */
  constructor(
    sys: Sys,
    layers: readonly string[],
    dataLayers: readonly string[],
    userxattr: boolean,
  ) {
    this.sys = sys;
    this.#seen = sys.stats.lower;
    this.prefix = userxattr ? USER : TRUSTED;
    try {
      let id = 1;
      for (const path of layers) this.#layers.push(openLayer(sys, path, id++, false));
      for (const path of dataLayers) this.#dataLayers.push(openLayer(sys, path, id++, false));
      this.#merge();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** All of them, topmost first. */
  get layers(): readonly Layer[] {
    return this.#layers;
  }

  close(): void {
    for (const layer of [...this.#layers, ...this.#dataLayers]) closeLayer(this.sys, layer);
  }

  closeParts(parts: readonly Part[]): void {
    for (const { fd } of parts) this.sys.native.close(fd);
  }

  /** Gives back what `look` has opened. */
  release(what: Shown): void {
    if (what.kind === 'dir') this.closeParts(what.parts);
    if (what.kind !== 'object') return;
    if (what.object.owned) this.sys.native.close(what.object.dir);
    if (what.data?.owned === true) this.sys.native.close(what.data.dir);
  }

  /** The roots merge down to the first opaque one. */
  #merge(): void {
    for (const [layer, { anchor, path }] of this.#layers.entries()) {
      const marks = dirMarks(this.sys, anchor, '.', true, this.prefix);
      if (typeof marks === 'number') throw this.#error(path, marks);
      this.roots.push({ layer, fd: anchor, xwhiteouts: marks.xwhiteouts });
      if (marks.opaque) break;
    }
  }

  /** Marks of the directory `name` of a part. */
  marks(part: Part, name: string): DirMarks {
    const marks = dirMarks(this.sys, part.fd, name, true, this.prefix);
    if (typeof marks === 'number') throw this.#error(name, marks);
    return marks;
  }

  /** `name` in `part` hides what is below and is nothing itself; `stat` is its. */
  isWhiteout(part: Part, name: string, stat: Stat): boolean {
    if (isDeviceWhiteout(stat)) return true;
    const announced = part.xwhiteouts || this.roots[part.layer]?.xwhiteouts;
    const marked = announced ? isXWhiteout(this.sys, part.fd, name, stat, this.prefix) : 0;
    if (marked < 0) throw this.#error(name, marked);
    return marked > 0;
  }

  /** What `name` is in the directory that `parts` make. To be released. */
  look(parts: readonly Part[], name: string): Shown {
    const walk: Walk = {
      name,
      parts,
      at: 0,
      object: undefined,
      data: undefined,
      dirs: [],
      copy: false,
      owed: false,
      absolute: '',
      stop: false,
    };
    try {
      for (; !walk.stop && walk.at < walk.parts.length; walk.at++) this.#askPart(walk);
      if (walk.owed) throw broken(name, 'is redirected to a directory that no layer below has');
      if (walk.copy && !walk.data) this.#dataOnly(walk, name);
    } catch (error) {
      this.release(resultOf(walk));
      throw error;
    }
    return resultOf(walk);
  }

  #askPart(walk: Walk): void {
    const part = walk.parts[walk.at];
    if (walk.name.startsWith('/')) this.#askPath(walk, part);
    else this.#askName(walk, part, walk.name, undefined);
  }

  /** The components of an absolute redirect, below one layer's root. */
  #askPath(walk: Walk, root: Part): void {
    const path = walk.name.slice(1).split('/');
    const prefix: string[] = [];
    let part = root;
    let kept = false;
    try {
      for (const [depth, name] of path.slice(0, -1).entries()) {
        if (!this.#passThrough(walk, part, name, prefix)) return;
        // Also when this layer has no more of the path, the layers below are asked by its new name.
        walk.name = `/${[...prefix, ...path.slice(depth + 1)].join('/')}`;
        const next = this.#openPart(part, name, false);
        if (part !== root) this.sys.native.close(part.fd);
        part = next;
      }
      kept = this.#askName(walk, part, path[path.length - 1], prefix, part !== root);
    } finally {
      if (part !== root && !kept) this.sys.native.close(part.fd);
    }
  }

  /** One directory on the way; false when this layer has none. */
  #passThrough(walk: Walk, part: Part, name: string, prefix: string[]): boolean {
    const there = this.#stat(part, name);
    if (there && !isDir(this.#seen.mode)) {
      walk.stop = true;
      return false;
    }
    if (this.#dotHidden(part, name)) walk.stop = true;
    if (!there) return false;
    const marks = this.marks(part, name);
    if (marks.opaque) walk.stop = true;
    extend(prefix, name, marks.redirect);
    return true;
  }

  /** Fills `#seen`; false when nothing is there. */
  #stat(part: Part, name: string): boolean {
    const code = this.sys.statName(part.fd, name, this.#seen);
    // A redirect may have a name that no layer can hold (ovl_lookup_single).
    if (noNameBelow(code)) return false;
    if (code < 0) throw this.#error(name, code);
    return true;
  }

  #dotHidden(part: Part, name: string): boolean {
    const code = dotWhiteout(this.sys, part.fd, name);
    if (code < 0) throw this.#error(name, code);
    return code === 1;
  }

  /** True when the part's descriptor has become the found object's (`givable`). */
  #askName(
    walk: Walk,
    part: Part,
    name: string,
    prefix: string[] | undefined,
    givable = false,
  ): boolean {
    const last = walk.at + 1 >= walk.parts.length;
    if (!this.#stat(part, name)) {
      if (!last && this.#dotHidden(part, name)) walk.stop = true;
      return false;
    }
    const mode = this.#seen.mode;
    // Below a directory only directories count, below a metadata-only copy only regular files.
    const foreign = walk.copy ? !isReg(mode) : walk.dirs.length > 0 && !isDir(mode);
    if (foreign || this.isWhiteout(part, name, this.#seen)) {
      walk.stop = true;
      return false;
    }
    if (isDir(mode)) {
      this.#addDir(walk, part, name, prefix, last);
      return false;
    }
    const found = { layer: part.layer, dir: part.fd, name, owned: givable };
    return this.#addFile(walk, found, prefix, isReg(mode));
  }

  #addDir(walk: Walk, part: Part, name: string, prefix: string[] | undefined, last: boolean): void {
    const marks = this.marks(part, name);
    walk.dirs.push(this.#openPart(part, name, marks.xwhiteouts));
    walk.owed = false;
    if (marks.opaque || (!last && this.#dotHidden(part, name))) {
      walk.stop = true;
      return;
    }
    walk.owed = marks.redirect !== '';
    this.#goOn(walk, part.layer, name, marks.redirect, prefix);
  }

  #addFile(walk: Walk, found: Found, prefix: string[] | undefined, regular: boolean): boolean {
    const { layer, dir, name, owned } = found;
    const copy = regular && this.isCopy(dir, name);
    if (!walk.object) walk.object = found;
    else if (!copy) walk.data = found;
    walk.stop = !copy;
    if (!copy) return owned;
    walk.copy = true;
    const redirect = this.#fileRedirect(dir, name);
    walk.absolute = redirect.startsWith('/') ? redirect : '';
    this.#goOn(walk, layer, name, redirect, prefix);
    return owned && walk.object === found;
  }

  /** What the layers below are asked for, after an object with `redirect`. */
  #goOn(
    walk: Walk,
    layer: number,
    name: string,
    redirect: string,
    prefix: string[] | undefined,
  ): void {
    if (redirect !== '' && this.prefix === USER) {
      throw broken(name, 'has a redirect, which is not followed with userxattr');
    }
    if (prefix) {
      extend(prefix, name, redirect);
      walk.name = `/${prefix.join('/')}`;
      return;
    }
    if (redirect === '') return;
    walk.name = redirect;
    if (!redirect.startsWith('/')) return;
    // From here on below the roots of the layers that are left.
    walk.parts = this.roots;
    walk.at = this.roots.findIndex((root) => root.layer === layer);
  }

  /** True for a metadata-only copy. */
  isCopy(dir: number, name: string): boolean {
    const code = readMetacopy(this.sys, dir, name, this.prefix);
    if (code < 0) throw this.#error(name, code);
    if (code === 0) return false;
    if (this.prefix === USER) {
      throw broken(name, 'is a metadata-only copy, which is not trusted with userxattr');
    }
    return true;
  }

  #fileRedirect(dir: number, name: string): string {
    const value = this.sys.xattr(dir, name, `${this.prefix}redirect`);
    const redirect =
      typeof value === 'number' ? (noXattr(value) ? '' : value) : parseRedirect(value);
    if (typeof redirect === 'number') throw this.#error(name, redirect);
    return redirect;
  }

  /** Data-only layers are reached by an absolute redirect alone (ovl_lookup_data_layers). */
  #dataOnly(walk: Walk, name: string): void {
    if (walk.absolute !== '') {
      for (const layer of this.#dataLayers) {
        const path = walk.name.startsWith('/') ? walk.name : walk.absolute;
        const [dir, leaf] = splitPath(path.slice(1));
        const fd = this.sys.open(layer.root, dir, O_PATH | O_DIRECTORY, 0, RESOLVE_LAYER);
        if (noDataFile(fd)) continue;
        // Another layer's file would be other data.
        if (fd < 0) throw this.#error(name, fd);
        walk.data = this.#regular({ layer: -1, dir: fd, name: leaf, owned: true });
        if (walk.data) return;
      }
    }
    throw broken(name, 'has its data in a lower layer, and none of those given has it');
  }

  /** What was found, when it is a regular file; else it is given back. */
  #regular(found: Found): Found | undefined {
    const part = { layer: found.layer, fd: found.dir, xwhiteouts: false };
    let regular = false;
    try {
      regular = this.#stat(part, found.name) && isReg(this.#seen.mode);
    } finally {
      if (!regular) this.sys.native.close(found.dir);
    }
    return regular ? found : undefined;
  }

  /** The directory `name` of one part alone; the asker's to close. */
  open(part: Part, name: string): Part {
    return this.#openPart(part, name, false);
  }

  #openPart(part: Part, name: string, xwhiteouts: boolean): Part {
    const fd = this.sys.open(part.fd, name, OPEN_DIR, 0, RESOLVE_LAYER);
    if (fd < 0) throw this.#error(name, fd);
    return { layer: part.layer, fd, xwhiteouts };
  }

  /** Two merged directories are the same: the same directories of the same layers. */
  same(one: readonly Part[], other: readonly Part[]): boolean {
    return (
      one.length === other.length && one.every((part, i) => this.#key(part) === this.#key(other[i]))
    );
  }

  #key({ fd, layer }: Part): string {
    const { probe } = this.sys.stats;
    const found = this.sys.statName(fd, '.', probe);
    if (found < 0) throw this.#error('.', found);
    return `${layer}:${probe.inoHi}:${probe.inoLo}`;
  }

  #error(name: string, code: number): UserError {
    return new UserError(`cannot read ${display(name)} of a layer: ${errnoText(code)}`);
  }
}

function resultOf({ dirs, object, data }: Walk): Shown {
  if (dirs.length > 0) return { kind: 'dir', parts: dirs };
  return object ? { kind: 'object', object, data } : NOTHING;
}

const splitPath = (path: string): [string, string] => {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? ['.', path] : [path.slice(0, slash), path.slice(slash + 1)];
};

/** What the layers below call the path so far. */
function extend(prefix: string[], name: string, redirect: string): void {
  if (redirect.startsWith('/')) prefix.splice(0, prefix.length, ...redirect.slice(1).split('/'));
  else prefix.push(redirect === '' ? name : redirect);
}

const broken = (name: string, why: string): UserError =>
  new UserError(`${shown(name)} ${why}: give all the layers it was written over`);
