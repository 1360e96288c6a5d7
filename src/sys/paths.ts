/** Answers questions about paths by name. Paths are latin1, one character a byte. */
import { accessSync, realpathSync, statSync } from 'node:fs';
import { display } from '../base/bytes.js';
import { E, errnoText, UserError } from '../base/errno.js';

/** The form Node's fs functions take without decoding. */
export const bytes = (path: string): Buffer => Buffer.from(path, 'latin1');

/** Identity of a file for as long as it is referenced: "st_dev:st_ino", exact. */
export type FileId = string;

export interface Found {
  readonly id: FileId;
  /** st_dev, exact. */
  readonly device: string;
  readonly isDirectory: boolean;
}

/** The positive errno of what a Node fs function threw; anything else is a bug and goes on. */
export function errnoOf(error: unknown): number {
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') {
    return Math.abs(error.errno);
  }
  throw error;
}

/** stat(2), following symlinks; a positive errno when it fails. */
export function look(path: string): Found | number {
  try {
    const info = statSync(bytes(path), { bigint: true });
    return {
      id: `${info.dev}:${info.ino}`,
      device: `${info.dev}`,
      isDirectory: info.isDirectory(),
    };
  } catch (error) {
    return errnoOf(error);
  }
}

/** access(2); 0 or a positive errno. */
export function mayAccess(path: string, mode: number): number {
  try {
    accessSync(bytes(path), mode);
    return 0;
  } catch (error) {
    return errnoOf(error);
  }
}

/** realpath(3); a positive errno when it fails. Asks nothing of the file system mounted at `path`. */
export function realpath(path: string): string | number {
  try {
    return realpathSync.native(bytes(path), { encoding: 'latin1' });
  } catch (error) {
    return errnoOf(error);
  }
}

/**
 * What directories lie in: the identities of a directory and of everything above it up to the root.
 * By identity and not by name, so that symlinks and bind mounts of a parent do not hide an overlap.
 * One object serves one set of checks: it remembers what it has looked up (2,000 layers are
 * siblings, mostly).
 */
export class Ancestry {
  readonly #ids = new Map<string, FileId | undefined>();
  readonly #resolved = new Map<string, string | number>();

  /** realpath(3), asked once for each path; a positive errno when it fails. */
  resolve(path: string): string | number {
    const known = this.#resolved.get(path);
    if (known !== undefined) return known;
    const resolved = realpath(path);
    this.#resolved.set(path, resolved);
    return resolved;
  }

  /** The directory's own identity first. Nothing for a path that is not there. Throws a UserError. */
  *of(path: string): Generator<FileId> {
    const resolved = this.resolve(path);
    if (typeof resolved === 'number') {
      if (isMissing(resolved)) return;
      throw unresolved(path, resolved);
    }
    for (let at = resolved; ; at = at.slice(0, at.lastIndexOf('/'))) {
      const id = this.#id(at === '' ? '/' : at);
      if (id !== undefined) yield id;
      if (at === '' || at === '/') return;
    }
  }

  /** True when `path` is the directory `id` or lies in it. */
  inside(path: string, id: FileId): boolean {
    for (const each of this.of(path)) if (each === id) return true;
    return false;
  }

  #id(path: string): FileId | undefined {
    if (this.#ids.has(path)) return this.#ids.get(path);
    const found = look(path);
    if (typeof found === 'number' && !isOutOfReach(found)) throw unresolved(path, found);
    const id = typeof found === 'number' ? undefined : found.id;
    this.#ids.set(path, id);
    return id;
  }
}

const unresolved = (path: string, errno: number): UserError =>
  new UserError(`cannot tell where ${display(path)} lies: ${errnoText(errno)}`);

/**
 * Nothing that this process uses can be behind the path: it is not there, may not be looked at
 * (path_resolution(7)), or the server of a file system on its way is gone.
 */
export const isOutOfReach = (errno: number): boolean =>
  isMissing(errno) ||
  [E.EACCES, E.ELOOP, E.ENAMETOOLONG].includes(errno) ||
  [E.ENOTCONN, E.ESTALE, E.EHOSTUNREACH, E.ETIMEDOUT].includes(errno);

/** True for the errno values that say "there is nothing here". */
export const isMissing = (errno: number): boolean => errno === E.ENOENT || errno === E.ENOTDIR;
