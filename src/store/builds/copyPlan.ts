/**
 * What COPY, ADD and WORKDIR write: a list of objects with their places in the image. The list is the step's
 * content, hashed for the cache, and becomes the layer's archive as it is: nothing is copied in between.
 */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, readSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { packItems } from '../../archive/pack.js';
import type { Packed, PackOptions, Sink } from '../../archive/types.js';
import type { Item, Override } from '../../archive/walk.js';
import { readXattrs } from '../../archive/objects.js';
import { display } from '../../base/bytes.js';
import { errnoText, UserError } from '../../base/errno.js';
import { isDir, isLnk, isReg } from '../../base/mode.js';
import type { Part } from '../../archive/stack.js';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_LAYER,
} from '../../sys/constants.js';
import type { Stat } from '../../sys/stat.js';
import { DENTS, DENTS_SIZE, type Sys } from '../../sys/sys.js';
import { TRUSTED, USER } from '../../layer/xattrs.js';
import { layerFormat } from '../layers/format.js';
import type { Below, Place } from './below.js';
import type { Match, SourceTree } from './sourceTree.js';

interface Planned {
  /** In the image; latin1, no slash before it. */
  readonly path: string;
  /** Where it comes from: a source, a directory that the image has, or a new one. */
  readonly source: { readonly tree: SourceTree; readonly path: string } | Part | undefined;
  readonly as: Override;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface CopyOptions {
  /** Undefined: as it is in the source. */
  readonly owner: Owner | undefined;
  /** Of files and directories. */
  readonly mode: number | undefined;
  /** Directories of the image that are symlinks to directories are followed: of unpacked archives. */
  readonly follow?: boolean;
}

const under = (path: string, name: string): string => (path === '' ? name : `${path}/${name}`);
const isPart = (source: Planned['source']): source is Part =>
  source !== undefined && 'fd' in source;

/** Objects whose state is compared after they were read. */
type Signature = string;

export class CopyPlan {
  readonly #below: Below;
  readonly #planned = new Map<string, Planned>();
  readonly #seen = new Map<string, Signature>();
  /** Of directories that are made on the way. */
  readonly #now = Math.floor(Date.now() / 1000);
  readonly #empty: string;

  /** `empty`: an empty directory, which new ones are made like; latin1. */
  constructor(below: Below, empty: string) {
    this.#below = below;
    this.#empty = empty;
  }

  /** The directory at a place, those on the way to it made as `owner`'s. */
  directory({ names, parts, isFile }: Place, owner: Owner): void {
    if (isFile) throw blocked(names.join('/'));
    let path = '';
    for (const [depth, name] of names.entries()) {
      path = under(path, name);
      if (this.#planned.has(path)) continue;
      const part = parts[depth + 1]?.[0];
      const as = part ? {} : { ...owner, mode: 0o755, mtime: this.#now };
      this.#planned.set(path, { path, source: part, as });
    }
  }

  /** One source to its place: what is in a directory, or the file itself. */
  add(tree: SourceTree, match: Match, place: Place, options: CopyOptions): void {
    const path = place.names.join('/');
    const owner = options.owner ?? { uid: 0, gid: 0 };
    if (!match.isDirectory) {
      const parent = { names: place.names.slice(0, -1), parts: place.parts.slice(0, -1) };
      this.directory({ ...parent, isFile: false }, owner);
      if (place.parts.at(-1))
        throw new UserError(`cannot copy a file over the directory /${display(path)}`);
      this.#put(tree, match.path, path, options);
      return;
    }
    this.directory(place, owner);
    this.#inside(tree, match.path, path, place.parts.at(-1), options);
  }

  #inside(
    tree: SourceTree,
    from: string,
    to: string,
    parts: readonly Part[] | undefined,
    options: CopyOptions,
  ): void {
    const { listed } = tree.sys.stats;
    const fd = tree.openDirectory(from);
    try {
      for (const name of tree.list(from)) {
        if (tree.sys.statName(fd, name, listed) < 0) continue;
        const source = under(from, name);
        const isDirectory = isDir(listed.mode);
        const ignored = tree.ignored(source, isDirectory);
        if (!isDirectory) {
          if (ignored) continue;
          this.#noDirectory(parts, name, under(to, name));
          this.#put(tree, source, under(to, name), options);
          continue;
        }
        const before = this.#planned.size;
        const target = this.#target(under(to, name), parts, name, options);
        if (!ignored) this.#put(tree, source, target.path, options);
        this.#inside(tree, source, target.path, target.parts, options);
        // Of a directory that is left out, only the way to what is not.
        if (ignored && this.#planned.size > before) this.#put(tree, source, target.path, options);
      }
    } finally {
      tree.sys.native.close(fd);
    }
  }

  /** Where a directory of the source goes. */
  #target(
    path: string,
    parts: readonly Part[] | undefined,
    name: string,
    { follow }: CopyOptions,
  ): { path: string; parts: readonly Part[] | undefined } {
    if (!parts) return { path, parts: undefined };
    const found = this.#below.look(parts, name);
    if (found.kind === 'nothing') return { path, parts: undefined };
    if (found.kind === 'dir') return { path, parts: found.parts };
    if (follow) {
      const place = this.#below.find(path);
      if (place.parts.at(-1)) {
        this.directory(place, { uid: 0, gid: 0 });
        return { path: place.names.join('/'), parts: place.parts.at(-1) };
      }
    }
    throw new UserError(
      `cannot copy a directory over /${display(path)}, which is none in the image (a symlink to one, perhaps): name the directory itself as the destination`,
    );
  }

  #noDirectory(parts: readonly Part[] | undefined, name: string, path: string): void {
    if (parts && this.#below.kind(parts, name) === 'dir') {
      throw new UserError(`cannot copy a file over the directory /${display(path)}`);
    }
  }

  #put(tree: SourceTree, source: string, path: string, { owner, mode }: CopyOptions): void {
    if (path.slice(path.lastIndexOf('/') + 1).startsWith('.wh.')) {
      throw new UserError(
        `/${display(source)} cannot be in a layer: names that begin with .wh. stand for deletions there`,
      );
    }
    // The root itself keeps what it is.
    if (path === '') return;
    const as = { ...owner, ...(mode === undefined ? {} : { mode }) };
    this.#planned.set(path, { path, source: { tree, path: source }, as });
  }

  #sorted(): Planned[] {
    const key = ({ path }: Planned): string => path.replaceAll('/', '\0');
    return [...this.#planned.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }

  /** The digest of all that is written: names, owners, modes, contents; no times. */
  async digest(): Promise<string> {
    const hash = createHash('sha256');
    let since = performance.now();
    for (const each of this.#sorted()) {
      this.#hash(hash, each);
      if (performance.now() - since < 8) continue;
      await turn();
      since = performance.now();
    }
    return hash.digest('hex');
  }

  #hash(hash: Hash, { path, source, as }: Planned): void {
    const field = (text: string): unknown => hash.update(`${text.length}:`).update(text, 'latin1');
    field(path);
    if (source === undefined || isPart(source)) {
      field(source ? 'there' : `new ${as.uid}:${as.gid}`);
      return;
    }
    const { tree } = source;
    const { sys } = tree;
    const stat = sys.stats.source;
    withParent(tree, source.path, (dir, name) => {
      check(sys.statName(dir, name, stat), tree, source.path);
      const { mode, uid, gid, rdevMajor, rdevMinor } = stat;
      this.#seen.set(path, signature(stat));
      field(
        `${as.mode ?? mode}:${mode} ${as.uid ?? uid}:${as.gid ?? gid} ${rdevMajor}:${rdevMinor}`,
      );
      for (const [key, value] of [...readXattrs(sys, dir, name, '')].sort()) {
        field(key);
        field(value);
      }
      if (isLnk(mode)) {
        const length = sys.native.readlinkat(dir, name, DENTS, DENTS_SIZE);
        check(length, tree, source.path);
        field(sys.text(DENTS, length));
      } else if (isReg(mode)) field(contentDigest(sys, dir, name, source));
    });
  }

  /** The layer's archive. Throws UserError when a source has changed since `digest`. */
  async pack(sink: Sink, options: PackOptions): Promise<Packed> {
    const prefix = layerFormat().userxattr ? USER : TRUSTED;
    const packed = await packItems((sys) => this.#items(sys), prefix, sink, options);
    for (const { path, source } of this.#planned.values()) {
      if (source === undefined || isPart(source)) continue;
      const { tree } = source;
      const stat = tree.sys.stats.source;
      withParent(tree, source.path, (dir, name) => {
        check(tree.sys.statName(dir, name, stat), tree, source.path);
        if (this.#seen.has(path) && this.#seen.get(path) !== signature(stat)) {
          throw new UserError(
            `/${display(source.path)} in ${tree.what} changed while it was copied: build again`,
          );
        }
      });
    }
    return packed;
  }

  *#items(sys: Sys): Generator<Item, void> {
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const empty = sys.open(AT_FDCWD, this.#empty, flags, 0, 0);
    if (empty < 0) throw new UserError(`cannot open ${display(this.#empty)}: ${errnoText(empty)}`);
    let open: { tree: SourceTree; path: string; fd: number } | undefined;
    try {
      for (const { path, source, as } of this.#sorted()) {
        const item = { kind: 'object', path, layer: 0, data: undefined, as } as const;
        if (source === undefined) yield { ...item, dir: empty, name: '.' };
        else if (isPart(source)) yield { ...item, dir: source.fd, name: '.' };
        else {
          const [parent, name] = split(source.path);
          if (open?.tree !== source.tree || open.path !== parent) {
            if (open) sys.native.close(open.fd);
            open = { tree: source.tree, path: parent, fd: source.tree.openDirectory(parent) };
          }
          yield { ...item, dir: open.fd, name };
        }
      }
    } finally {
      if (open) sys.native.close(open.fd);
      sys.native.close(empty);
    }
  }
}

function split(path: string): [parent: string, name: string] {
  if (path === '') return ['', '.'];
  const slash = path.lastIndexOf('/');
  return slash < 0 ? ['', path] : [path.slice(0, slash), path.slice(slash + 1)];
}

function withParent(
  tree: SourceTree,
  path: string,
  act: (dir: number, name: string) => void,
): void {
  const [parent, name] = split(path);
  const fd = tree.openDirectory(parent);
  try {
    act(fd, name);
  } finally {
    tree.sys.native.close(fd);
  }
}

function contentDigest(
  sys: Sys,
  dir: number,
  name: string,
  source: { readonly tree: SourceTree; readonly path: string },
): string {
  const fd = sys.open(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, RESOLVE_LAYER);
  check(fd, source.tree, source.path);
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(1 << 18);
  try {
    for (;;) {
      const n = readSync(fd, chunk, 0, chunk.length, null);
      if (n === 0) return hash.digest('hex');
      hash.update(chunk.subarray(0, n));
    }
  } finally {
    closeSync(fd);
  }
}

const signature = (stat: Stat): Signature =>
  [
    ...[stat.dev, stat.inoHi, stat.inoLo, stat.sizeHi, stat.sizeLo],
    ...[stat.mtime, stat.mtimeNsec, stat.ctimeHi, stat.ctimeLo, stat.ctimeNsec],
  ].join(':');

function check(code: number, tree: SourceTree, path: string): void {
  if (code >= 0) return;
  throw new UserError(`cannot read /${display(path)} in ${tree.what}: ${errnoText(code)}`);
}

const blocked = (path: string): UserError =>
  new UserError(`/${display(path)} is a file in the image, and a directory is needed there`);
