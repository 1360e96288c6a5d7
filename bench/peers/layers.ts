/**
 * The layers of the fuse-native union: paths in, paths out. Whiteouts are 0:0 character devices;
 * an opaque directory holds `.wh..wh..opq`, as Node cannot read or write xattrs.
 */
import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  lchownSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  type Stats,
} from 'node:fs';
import { constants as os } from 'node:os';
import { dirname } from 'node:path';
import { execFileSync } from 'node:child_process';

const OPAQUE = '.wh..wh..opq';

export class Failure extends Error {
  readonly errno: number;
  constructor(name: keyof typeof os.errno) {
    super(name);
    this.errno = os.errno[name];
  }
}

export interface Found {
  readonly real: string;
  readonly stats: Stats;
  readonly inUpper: boolean;
}

export class Layers {
  readonly #upper: string;
  readonly #work: string;
  /** Topmost first, the upper included. */
  readonly #all: readonly string[];
  readonly #opaque = new Map<string, boolean>();
  #temporary = 0;

  constructor(lowers: readonly string[], upper: string, work: string) {
    this.#upper = upper;
    this.#work = work;
    this.#all = [upper, ...lowers];
    const whiteout = `${work}/whiteout`;
    rmSync(whiteout, { force: true });
    // Node has no mknod(2): one device is made here, and every whiteout is a link to it.
    execFileSync('mknod', [whiteout, 'c', '0', '0']);
  }

  /** Where `path` is in the topmost layer that has it. */
  find(path: string): Found {
    const found = this.#search(path, this.#all);
    if (!found) throw new Failure('ENOENT');
    return found;
  }

  has(path: string): boolean {
    return this.#search(path, this.#all) !== undefined;
  }

  names(path: string): string[] {
    const seen = new Set<string>();
    const shown: string[] = [];
    for (const layer of this.#layersOf(path)) {
      for (const entry of readdirSync(layer + path, { withFileTypes: true })) {
        if (entry.name === OPAQUE || seen.has(entry.name)) continue;
        seen.add(entry.name);
        const hidden =
          entry.isCharacterDevice() && isWhiteout(lstatSync(`${layer}${path}/${entry.name}`));
        if (!hidden) shown.push(entry.name);
      }
    }
    return shown;
  }

  /** The upper's path of `path`, after copying it (and its parents) up. */
  copyUp(path: string, withData = true): string {
    const found = this.find(path);
    const target = this.#upper + path;
    if (found.inUpper) return target;
    this.parents(path);
    const temporary = this.#fresh();
    if (found.stats.isDirectory()) {
      mkdirSync(temporary);
    } else if (found.stats.isSymbolicLink()) {
      symlinkSync(readlinkSync(found.real), temporary);
    } else if (found.stats.isFile()) {
      if (withData) copyFileSync(found.real, temporary, constants.COPYFILE_FICLONE);
      else writeFileSync(temporary, '');
    } else {
      throw new Failure('EPERM');
    }
    lchownSync(temporary, found.stats.uid, found.stats.gid);
    if (!found.stats.isSymbolicLink()) chmodSync(temporary, found.stats.mode & 0o7777);
    lutimesSync(temporary, found.stats.atimeMs / 1000, found.stats.mtimeMs / 1000);
    renameSync(temporary, target);
    return target;
  }

  /** Copies up the directory that holds `path`; returns the upper's path of `path`. */
  parents(path: string): string {
    const parent = dirname(path);
    if (parent !== '/') this.copyUp(parent);
    return this.#upper + path;
  }

  /** Frees the name `path` in the upper for a new object: a whiteout there goes. */
  claim(path: string): { target: string; overWhiteout: boolean } {
    const target = this.parents(path);
    const stats = lstatSync(target, { throwIfNoEntry: false });
    const overWhiteout = stats !== undefined && isWhiteout(stats);
    if (overWhiteout) rmSync(target);
    return { target, overWhiteout };
  }

  /** A new directory must not show what a lower layer has under its name. */
  makeOpaque(path: string): void {
    writeFileSync(`${this.#upper}${path}/${OPAQUE}`, '');
    this.#opaque.set(this.#upper + path, true);
  }

  /** Takes `path` away: from the upper, and behind a whiteout when a lower layer has it too. */
  remove(path: string): void {
    const found = this.find(path);
    if (found.inUpper) rmSync(found.real, { recursive: true });
    this.#forgetOpaque(path);
    this.hide(path);
  }

  hide(path: string): void {
    if (!this.#search(path, this.#all)) return;
    linkSync(`${this.#work}/whiteout`, this.parents(path));
  }

  /** Whether a lower layer contributes to `path`, so that a rename of a directory is EXDEV. */
  inLower(path: string): boolean {
    return this.#search(path, this.#all.slice(1)) !== undefined;
  }

  #forgetOpaque(path: string): void {
    const prefix = `${this.#upper}${path}`;
    for (const key of this.#opaque.keys()) {
      if (key === prefix || key.startsWith(`${prefix}/`)) this.#opaque.delete(key);
    }
  }

  #fresh(): string {
    this.#temporary++;
    return `${this.#work}/#${this.#temporary}`;
  }

  #search(path: string, layers: readonly string[]): Found | undefined {
    for (const layer of layers) {
      const real = layer + path;
      const stats = lstatOrNothing(real);
      if (stats === 'hidden') return undefined;
      if (stats) {
        if (isWhiteout(stats)) return undefined;
        return { real, stats, inUpper: layer === this.#upper };
      }
      if (this.#stopsBelow(layer, dirname(path))) return undefined;
    }
    return undefined;
  }

  /** The layers whose directory `path` takes part in the merge. */
  #layersOf(path: string): string[] {
    const parts: string[] = [];
    for (const layer of this.#all) {
      const stats = lstatOrNothing(layer + path);
      if (stats === 'hidden') break;
      if (stats) {
        if (!stats.isDirectory()) break;
        parts.push(layer);
      }
      if (this.#stopsBelow(layer, path)) break;
    }
    return parts;
  }

  #stopsBelow(layer: string, directory: string): boolean {
    for (let at = directory; at !== '/' && at !== '.'; at = dirname(at)) {
      const key = layer + at;
      let opaque = this.#opaque.get(key);
      if (opaque === undefined) {
        opaque = lstatOrNothing(`${key}/${OPAQUE}`) instanceof Object;
        this.#opaque.set(key, opaque);
      }
      if (opaque) return true;
    }
    return false;
  }
}

function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

/** 'hidden': a file or a whiteout stands where the path needs a directory. */
function lstatOrNothing(path: string): Stats | 'hidden' | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return 'hidden';
    throw error;
  }
}
