/**
 * A directory that COPY and ADD take from: the context, or a mounted stage or image. All paths in it are
 * resolved with it as "/": no symlink of a hostile tree leads out (openat2(2), RESOLVE_IN_ROOT).
 */
import { readlinkSync } from 'node:fs';
import { display } from '../../base/bytes.js';
import { E, errnoText, UserError } from '../../base/errno.js';
import { isDir } from '../../base/mode.js';
import { readEntries } from '../../layer/directory.js';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
} from '../../sys/constants.js';
import { Sys } from '../../sys/sys.js';
import { globSource } from './parse/words.js';

const HOW = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/** True for what .dockerignore leaves out; `path` is relative, latin1. */
export type Ignored = (path: string, isDirectory: boolean) => boolean;

/** One source as it lies: its path without symlinks, and the name that was asked for. */
export interface Match {
  /** Relative to the root, '' for the root itself; latin1. */
  readonly path: string;
  readonly name: string;
  readonly isDirectory: boolean;
}

const HAS_GLOB = /[*?[\\]/;

/** `/a/../b/` as `['b']`; nothing climbs above the root. */
export function componentsOf(path: string): string[] {
  const out: string[] = [];
  for (const each of path.split('/')) {
    if (each === '..') out.pop();
    else if (each !== '' && each !== '.') out.push(each);
  }
  return out;
}

export class SourceTree {
  readonly sys = new Sys();
  readonly fd: number;
  /** What people call it in messages. */
  readonly what: string;
  readonly ignored: Ignored;
  readonly #path: string;

  /** `path`: latin1. Close it. Throws UserError. */
  constructor(path: string, what: string, ignored: Ignored = () => false) {
    this.what = what;
    this.ignored = ignored;
    const fd = this.sys.open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, 0);
    if (fd < 0) throw new UserError(`cannot read ${what} ${display(path)}: ${errnoText(fd)}`);
    this.fd = fd;
    this.#path = this.#real(fd);
  }

  close(): void {
    this.sys.native.close(this.fd);
  }

  #real(fd: number): string {
    return readlinkSync(`/proc/self/fd/${fd}`, { encoding: 'latin1' });
  }

  /** Where `path` leads, symlinks followed; relative, latin1. Undefined: there is nothing. */
  follow(path: string): string | undefined {
    const fd = this.sys.open(this.fd, path === '' ? '.' : path, O_PATH, 0, HOW);
    if (fd === -E.ENOENT || fd === -E.ENOTDIR) return undefined;
    if (fd < 0) throw this.#cannot(path, fd);
    try {
      const real = this.#real(fd);
      if (real === this.#path) return '';
      const begin = this.#path === '/' ? '/' : `${this.#path}/`;
      if (!real.startsWith(begin)) throw this.#cannot(path, -E.EXDEV);
      return real.slice(begin.length);
    } finally {
      this.sys.native.close(fd);
    }
  }

  /** Opens the directory `path`, which has no symlinks. The caller closes it. */
  openDirectory(path: string): number {
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const fd = this.sys.open(this.fd, path === '' ? '.' : path, flags, 0, HOW);
    if (fd < 0) throw this.#cannot(path, fd);
    return fd;
  }

  /** Names in the directory `path`, sorted as bytes. */
  list(path: string): string[] {
    const fd = this.openDirectory(path);
    try {
      const names: string[] = [];
      const read = readEntries(this.sys, fd, (name) => names.push(name));
      if (read < 0) throw this.#cannot(path, read);
      return names.sort();
    } finally {
      this.sys.native.close(fd);
    }
  }

  /** What a source of COPY or ADD means, with its wildcards. Throws UserError when that is nothing. */
  match(pattern: string): Match[] {
    const names = componentsOf(pattern);
    let found: string[] = [''];
    let last = '';
    for (const [depth, name] of names.entries()) {
      const isLast = depth === names.length - 1;
      const next: string[] = [];
      for (const dir of found) {
        for (const each of this.#expand(dir, name)) next.push(dir === '' ? each : `${dir}/${each}`);
      }
      last = name;
      found = isLast ? next : next.flatMap((path) => this.#directory(path));
    }
    const matches = found.flatMap((path) => this.#found(path));
    if (matches.length > 0) return matches;
    const said = display(names.join('/'));
    const why = HAS_GLOB.test(last) ? 'nothing matches' : 'there is nothing';
    throw new UserError(
      `${why} at /${said} in ${this.what}${found.length > 0 && this.#exists(found) ? ': .dockerignore leaves it out' : ''}`,
    );
  }

  #exists(paths: readonly string[]): boolean {
    return paths.some((path) => this.follow(path) !== undefined);
  }

  #expand(dir: string, name: string): string[] {
    if (!HAS_GLOB.test(name)) return [name];
    const pattern = new RegExp(`^(?:${globSource(name, false)})$`, 's');
    return this.list(dir).filter((each) => pattern.test(each));
  }

  #directory(path: string): string[] {
    const real = this.follow(path);
    if (real === undefined) return [];
    return this.#isDirectory(real) ? [real] : [];
  }

  #isDirectory(path: string): boolean {
    if (path === '') return true;
    const slash = path.lastIndexOf('/');
    const fd = this.openDirectory(slash < 0 ? '' : path.slice(0, slash));
    try {
      const { listed } = this.sys.stats;
      return this.sys.statName(fd, path.slice(slash + 1), listed) === 0 && isDir(listed.mode);
    } finally {
      this.sys.native.close(fd);
    }
  }

  #found(path: string): Match[] {
    const real = this.follow(path);
    if (real === undefined) return [];
    const isDirectory = this.#isDirectory(real);
    if (real !== '' && !isDirectory && this.ignored(real, false)) return [];
    return [{ path: real, name: path.slice(path.lastIndexOf('/') + 1), isDirectory }];
  }

  #cannot(path: string, code: number): UserError {
    return new UserError(`cannot read /${display(path)} in ${this.what}: ${errnoText(code)}`);
  }
}
