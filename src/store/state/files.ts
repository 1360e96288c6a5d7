/**
 * Files that are there whole or not at all. Paths are latin1 strings, one character per byte; content
 * is bytes, or text stored as UTF-8.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { E } from '../../base/errno.js';
import { bytes, errnoOf } from '../../sys/paths.js';

/** Runs `act`; undefined when it failed with ENOENT. Every other error is the caller's. */
export function unlessMissing<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (errnoOf(error) === E.ENOENT) return undefined;
    throw error;
  }
}

/** fsync(2) of a directory: the names in it are on the disk. */
export function syncDirectory(path: string): void {
  const fd = openSync(bytes(path), 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';

/** How a file is published: to the disk before the call returns, or whenever the kernel likes. */
export interface Durability {
  readonly sync: boolean;
}

function writeWhole(path: string, content: Uint8Array, mode: number, sync: boolean): void {
  const fd = openSync(bytes(path), 'wx', mode);
  try {
    for (let done = 0; done < content.length; ) done += writeSync(fd, content, done);
    if (sync) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Publishes `path` with `content`: a temporary file beside it, fsync, rename, fsync of the directory.
 * After a crash the file is the old one or the new one. The temporary's name begins with a dot:
 * `names` passes over it and `fsck` removes it.
 */
export function publishFile(
  path: string,
  content: string | Uint8Array,
  { sync }: Durability,
  mode = 0o600,
): void {
  const directory = parentOf(path);
  const temporary = `${directory}/.${process.pid}-${randomBytes(6).toString('hex')}.tmp`;
  const data = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
  try {
    writeWhole(temporary, data, mode, sync);
    renameSync(bytes(temporary), bytes(path));
  } catch (error) {
    rmSync(bytes(temporary), { force: true });
    throw error;
  }
  if (sync) syncDirectory(directory);
}

/** Renames `from`, whose content is synced already, to `to`, and makes both names durable. */
export function publishRename(from: string, to: string, { sync }: Durability): void {
  renameSync(bytes(from), bytes(to));
  if (!sync) return;
  syncDirectory(parentOf(to));
  if (parentOf(from) !== parentOf(to)) syncDirectory(parentOf(from));
}

/** Removes a file and makes that durable; false when there was none. */
export function removeFile(path: string, { sync }: Durability): boolean {
  const removed = unlessMissing(() => {
    unlinkSync(bytes(path));
    return true;
  });
  if (removed === true && sync) syncDirectory(parentOf(path));
  return removed === true;
}

/** A file's text; undefined when it does not exist. */
export const readText = (path: string): string | undefined =>
  unlessMissing(() => readFileSync(bytes(path), 'utf8'));

/** The names in a directory, sorted; temporary files (they begin with a dot) left out. */
export function names(directory: string): string[] {
  const all = unlessMissing(() => readdirSync(bytes(directory), { encoding: 'latin1' })) ?? [];
  return all.filter((name) => !name.startsWith('.')).sort();
}

/** Makes a directory, and those above it, unless they exist; the names are synced by the caller. */
export function makeDirectory(path: string, mode = 0o700): void {
  mkdirSync(bytes(path), { recursive: true, mode });
}
