/**
 * The index (`WORKDIR/index`). It has one entry for each lower file with several links that was copied up:
 * a link of the upper file, named after the lower file's handle. It leads every name of the lower file to
 * that one upper file (ovl_get_indexdir, ovl_indexdir_cleanup). This file handles the directory;
 * lookup/hardLinks.ts applies it to nodes.
 */
import { display } from '../../base/bytes.js';
import { E, errnoText, UserError } from '../../base/errno.js';
import { isDir } from '../../base/mode.js';
import { noHandleRight, noName, noXattr, staleHandle } from '../../layer/absence.js';
import { readEntries } from '../../layer/directory.js';
import type { Layer } from '../../layer/layer.js';
import {
  findOrigin,
  FLAG_UPPER,
  indexName,
  originLayers,
  originOf,
  originOfIndexName,
  statHandle,
} from '../../layer/origin.js';
import { isDeviceWhiteout } from '../../layer/whiteout.js';
import { TRUSTED } from '../../layer/xattrs.js';
import { O_DIRECTORY, O_PATH, O_RDONLY } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import { SPOILS, spoil, type Stat } from '../../sys/stat.js';
import { SMALL, type Sys, XATTR } from '../../sys/sys.js';
import type { OverlaySpec } from '../spec.js';
import { makePlain, openBeneath, removeTree, type Workdir } from './workdir.js';

const NAME = 'index';
const ORIGIN = `${TRUSTED}origin`;
const UPPER = `${TRUSTED}upper`;
const NLINK = `${TRUSTED}nlink`;
const FUSE_SUPER_MAGIC = 0x65735546;
/** An entry of the index is nothing we understand. */
const FOREIGN = 2;

interface IndexParts {
  readonly spec: OverlaySpec;
  readonly upper: Layer;
  readonly work: Pick<Workdir, 'base' | 'path' | 'trusted'>;
  /** Topmost first. */
  readonly lowers: readonly Layer[];
}

/**
 * The index of a mount, or undefined when the mount does without: it is switched off, or, by
 * default, when it cannot be kept or is not this mount's. Throws a UserError when it is asked for, and
 * when that cannot be told: without an index that is there, changed files would show old data.
 */
export function openIndex(sys: Sys, parts: IndexParts): LinkIndex | undefined {
  const { index, userxattr } = parts.spec;
  // The index is only kept under trusted.* marks, which userxattr says not to read.
  if (index === 'off' || userxattr === true) return undefined;
  const links = new LinkIndex(sys, parts);
  try {
    const why = unsuitable(sys, parts) ?? links.open(index === 'on' && !parts.spec.readOnly);
    if (why === undefined) return links;
    if (index === 'on') throw new UserError(why);
  } catch (error) {
    links.close();
    throw error;
  }
  links.close();
  return undefined;
}

/** What the file systems lack; undefined when nothing. Throws a UserError when that cannot be told. */
function unsuitable(sys: Sys, { upper, work, lowers }: IndexParts): string | undefined {
  if (!work.trusted) {
    return `index=on needs trusted.* xattrs, which ${display(upper.path)} does not take from this user; leave index=on out`;
  }
  const byDev = new Map([...lowers].reverse().map((layer) => [layer.dev, layer]));
  const byUuid = new Map<string, Layer>();
  for (const layer of byDev.values()) {
    const twin = byUuid.get(layer.uuid);
    if (twin && twin.fileSystem !== layer.fileSystem) {
      return `index=on cannot tell the file systems of ${display(twin.path)} and ${display(layer.path)} apart, as their UUIDs are equal; leave index=on out`;
    }
    byUuid.set(layer.uuid, layer);
  }
  const bad = [upper, ...byDev.values()].find((layer) => !givesHandles(sys, layer));
  return bad === undefined
    ? undefined
    : `index=on needs lasting file handles, which the file system of ${display(bad.path)} does not give; leave index=on out`;
}

/** A FUSE server's handles mostly end with it: a later mount would take one file for another. */
function givesHandles(sys: Sys, layer: Layer): boolean {
  const known = sys.native.fstatfs(layer.root, SMALL);
  if (known < 0) throw unknown(layer, known);
  if (sys.u32[SMALL >> 2] === FUSE_SUPER_MAGIC) return false;
  const root = originOf(sys, layer, layer.root, '.');
  if (typeof root === 'number') throw unknown(layer, root);
  if (root === '') return false;
  const found = statHandle(sys, layer, root, sys.stats.probe);
  if (found >= 0) return true;
  if (noHandleRight(found) || staleHandle(found)) return false;
  throw unknown(layer, found);
}

const unknown = (layer: Layer, code: number): UserError =>
  new UserError(
    `cannot tell whether the file system of ${display(layer.path)} gives file handles: ${errnoText(code)}`,
  );

export class LinkIndex {
  readonly #sys: Sys;
  readonly #upper: Layer;
  readonly #lowers: readonly Layer[];
  readonly #origins: readonly Layer[];
  readonly #work: IndexParts['work'];
  readonly #readOnly: boolean;
  #dir = -1;

  constructor(sys: Sys, { spec, upper, work, lowers }: IndexParts) {
    this.#readOnly = spec.readOnly;
    this.#sys = sys;
    this.#upper = upper;
    this.#lowers = lowers;
    this.#origins = originLayers(lowers);
    this.#work = work;
  }

  /** O_PATH descriptor of the directory; -1: nothing was ever copied up into it. */
  get dir(): number {
    return this.#dir;
  }

  /**
   * Checks that the upper belongs to these lowers and the index to the upper, and cleans the index.
   * `make`: also when there is none yet. A read-only mount writes nothing, and needs all marks there.
   * Returns one sentence when it is another mount's; throws a UserError when it cannot be used.
   */
  open(make: boolean): string | undefined {
    const root = this.#matches(this.#upper.root, ORIGIN, this.#rootOrigin());
    if (root === -E.ESTALE) {
      return `upperdir ${display(this.#upper.path)} was used above another lower layer than ${display(this.#lowers[0].path)}; use that one, or index=off`;
    }
    if (root < 0 && !noXattr(root)) throw this.#unusable(root);
    const code = this.#open(make);
    if (noName(code) && !make) return undefined;
    if (code === -E.ESTALE) {
      return `the index in workdir ${display(this.#work.path)} belongs to another upperdir; remove ${NAME} there, or use index=off`;
    }
    const cleaned = code < 0 || this.#readOnly ? code : this.#clean();
    if (cleaned < 0) throw this.#unusable(cleaned);
    return cleaned === FOREIGN ? this.#unusable(-E.EINVAL).message : undefined;
  }

  #unusable(code: number): UserError {
    const text = `cannot use the index in workdir ${display(this.#work.path)}: ${errnoText(code)}; remove ${NAME} there, or use index=off`;
    return new UserError(text);
  }

  /** Makes the directory when there is none yet: before the first copy-up into it. 0 or -errno. */
  begin(): number {
    return this.#dir >= 0 ? 0 : this.#open(true);
  }

  #open(make: boolean): number {
    const { native } = this.#sys;
    const { base } = this.#work;
    let dir = openBeneath(this.#sys, base, NAME);
    if (dir < 0 && (!noName(dir) || !make)) return dir;
    const marked = this.#mark(this.#upper.root, ORIGIN, this.#rootOrigin());
    if (dir < 0 && marked >= 0) {
      const made = makePlain(this.#sys, base, NAME);
      dir = made < 0 ? made : openBeneath(this.#sys, base, NAME);
    }
    if (dir < 0) return dir;
    const code = marked < 0 ? marked : this.#claim(dir);
    if (code < 0) native.close(dir);
    else this.#dir = dir;
    return code;
  }

  /** Verifies that the directory is this upper's, or makes it so. Older kernels used `origin` for that. */
  #claim(dir: number): number {
    const upper = originOf(this.#sys, this.#upper, this.#upper.root, '.', FLAG_UPPER);
    const old = this.#matches(dir, ORIGIN, upper);
    return old < 0 && !noXattr(old) ? old : this.#mark(dir, UPPER, upper);
  }

  #rootOrigin(): string | number {
    const [top] = this.#lowers;
    return originOf(this.#sys, top, top.root, '.');
  }

  /** 0 when the xattr has this value, -ESTALE when it has another (ovl_verify_fh); -errno, also as `value`. */
  #matches(dir: number, key: string, value: string | number): number {
    if (typeof value === 'number') return value;
    const found = this.#sys.xattr(dir, '.', key);
    if (typeof found === 'number') return found;
    return found === value ? 0 : -E.ESTALE;
  }

  #mark(dir: number, key: string, value: string | number): number {
    if (typeof value === 'number') return value;
    const code = this.#matches(dir, key, value);
    if (!noXattr(code) || this.#readOnly) return code;
    const size = this.#sys.put(value, XATTR);
    return this.#sys.native.setxattr(dir, '.', key, XATTR, size, 0);
  }

  /** The directory as a lower layer: where a read-only mount has the files that its names lead to. */
  asLayer(id: number): Layer {
    const [root, anchor] = [O_PATH, O_RDONLY].map((flags) =>
      this.#sys.open(this.#dir, '.', flags | O_DIRECTORY, 0, 0),
    );
    if (root < 0 || anchor < 0) {
      for (const fd of [root, anchor]) if (fd >= 0) this.#sys.native.close(fd);
      throw this.#unusable(Math.min(root, anchor));
    }
    return { ...this.#upper, id, path: `${this.#work.path}/${NAME}`, root, anchor };
  }

  // --- entries -----------------------------------------------------------------------------
  /** The name of the entry of a lower object, "" when it has no handle, -errno. */
  nameOf(layer: Layer, dirfd: number, name: string): string | number {
    const origin = originOf(this.#sys, layer, dirfd, name);
    return typeof origin === 'number' ? origin : indexName(origin);
  }

  /** Fills `stat` with an entry's attributes; 0 or -errno. */
  stat(name: string, stat: Stat): number {
    return this.#sys.statName(this.#dir, name, stat);
  }

  /**
   * The links that the file of an entry has in the union, when the entry itself has `nlink`: a mark
   * tells the difference from these, or from the lower's (ovl_get_nlink). Without a valid mark, or when
   * the lower file is gone, `otherwise`; -errno. Overwrites the view `origin`.
   */
  union(name: string, nlink: number, otherwise = nlink): number {
    if (SPOILS) spoil(this.#sys.stats.origin);
    const mark = this.#sys.xattr(this.#dir, name, NLINK);
    if (typeof mark === 'number') return noXattr(mark) ? otherwise : mark;
    if (!MARK.test(mark)) return otherwise;
    const counted = mark.startsWith('U') ? nlink : this.lowerLinks(name);
    if (counted < 0) return staleHandle(counted) ? otherwise : counted;
    // Never below 0, which would be an errno: a mark that says so counts no link.
    return Math.max(0, counted + Number(mark.slice(1)));
  }

  /** 1: the mark of an entry tells the difference from the lower's links; 0; -errno. */
  countsByLower(name: string): number {
    const mark = this.#sys.xattr(this.#dir, name, NLINK);
    if (typeof mark === 'number') return noXattr(mark) ? 0 : mark;
    return mark.startsWith('L') ? 1 : 0;
  }

  /** The links of an entry's lower file; -ESTALE when that is gone, -errno. Overwrites the view `origin`. */
  lowerLinks(name: string): number {
    const { origin: lower } = this.#sys.stats;
    const origin = originOfIndexName(name) ?? '';
    const layer = findOrigin(this.#sys, this.#origins, origin, lower);
    if (layer <= 0) return layer === 0 ? -E.ESTALE : layer;
    return lower.nlink;
  }

  /** Writes the mark: `union` links where the upper ("U") or the lower ("L") file has `nlink`. */
  setUnion(name: string, from: 'U' | 'L', union: number, nlink: number): number {
    return setUnionMark(this.#sys, this.#dir, name, unionMark(from, union, nlink));
  }

  // --- cleaning ----------------------------------------------------------------------------
  /** Removes what interrupted work left, and entries of files without names. 0, FOREIGN or -errno. */
  #clean(): number {
    const names: string[] = [];
    const read = readEntries(this.#sys, this.#dir, (name) => names.push(name));
    if (read < 0) return read;
    for (const name of names) {
      const keep = name.startsWith('#') ? 0 : this.#judge(name);
      if (keep < 0 || keep === FOREIGN) return keep;
      const removed = keep === 0 ? removeTree(this.#sys, this.#dir, name) : 0;
      if (removed < 0) return removed;
    }
    return 0;
  }

  /** 1: a good entry; 0: stale or orphaned; FOREIGN; -errno (ovl_verify_index). */
  #judge(name: string): number {
    const sys = this.#sys;
    const origin = originOfIndexName(name);
    if (origin === undefined) return FOREIGN;
    const { entry } = sys.stats;
    const code = this.stat(name, entry);
    if (code < 0) return code;
    // Kept for nfs_export: whiteouts of removed files, and entries of directories.
    if (isDeviceWhiteout(entry) || isDir(entry.mode)) return 1;
    const stored = sys.xattr(this.#dir, name, ORIGIN);
    if (typeof stored === 'number') return noXattr(stored) ? FOREIGN : stored;
    if (stored !== origin) return 0;
    if (entry.nlink > 1) return 1;
    const layer = findOrigin(sys, this.#origins, origin, sys.stats.origin);
    if (layer <= 0) return layer;
    const left = this.union(name, 1, 0);
    if (left < 0) return left;
    if (left === 0) log(`removing the orphaned index entry ${name}`);
    return left > 0 ? 1 : 0;
  }

  close(): void {
    if (this.#dir >= 0) this.#sys.native.close(this.#dir);
    this.#dir = -1;
  }
}

/** "U" or "L", and a signed number (ovl_set_nlink_common). */
const MARK = /^[UL][+-]\d{1,9}$/;

/** The mark that says: `union` links where the upper ("U") or the lower ("L") file has `nlink`. */
export function unionMark(from: 'U' | 'L', union: number, nlink: number): string {
  const difference = union - nlink;
  return `${from}${difference < 0 ? '' : '+'}${difference}`;
}

export function setUnionMark(sys: Sys, dir: number, name: string, mark: string): number {
  return sys.native.setxattr(dir, name, NLINK, XATTR, sys.put(mark, XATTR), 0);
}
