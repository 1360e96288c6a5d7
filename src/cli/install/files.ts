/**
 * Files that an install command writes. Each carries a mark with the digest of the rest, so that it is
 * replaced and removed only while nobody has changed it.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { E, errnoText, UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';

/** Paths and contents are text (UTF-8). */
export interface PlannedFile {
  readonly path: string;
  readonly content: string;
  /** Default 0644. */
  readonly mode?: number;
  /**
   * What begins a comment there (default `#`); `none` for a format without comments, as JSON: the mark
   * is a file of its own then, `.NAME.stratafs-mark`.
   */
  readonly comment?: '#' | '//' | ';' | 'none';
}

const MARK = /stratafs install ([a-z0-9-]+) wrote this .*sha256 ([0-9a-f]{64})/;

const digest = (content: string): string => createHash('sha256').update(content).digest('hex');

const markText = (target: string, content: string): string =>
  `stratafs install ${target} wrote this and removes it again (stratafs uninstall ${target}) unless it was changed: sha256 ${digest(content)}`;

const sidecar = (path: string): string => join(dirname(path), `.${basename(path)}.stratafs-mark`);

/** The content with its mark: the first line, or the second of a script. */
export function marked(target: string, { content, comment = '#' }: PlannedFile): string {
  if (comment === 'none') return content;
  const line = `${comment} ${markText(target, content)}\n`;
  const at = content.startsWith('#!') ? content.indexOf('\n') + 1 : 0;
  return content.slice(0, at) + line + content.slice(at);
}

type State = 'missing' | 'ours' | 'changed' | 'foreign';

/** What is at a path; throws UserError when that cannot be told. */
function stateOf(target: string, { path, comment = '#' }: PlannedFile): State {
  let text: string;
  try {
    if (!lstatSync(path).isFile()) return 'foreign';
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === E.ENOENT) return 'missing';
    throw failed('read', path, error);
  }
  if (comment === 'none') return judge(target, text, readMark(sidecar(path)));
  const lines = text.split('\n');
  const at = lines[0].startsWith('#!') ? 1 : 0;
  const [mark] = lines.splice(at, 1);
  return judge(target, lines.join('\n'), mark);
}

/** The target that wrote what is at `path`, with a mark in it; undefined for what has none. */
export function writerOf(path: string): string | undefined {
  try {
    return MARK.exec(readFileSync(path, 'utf8'))?.[1];
  } catch (error) {
    if (errnoOf(error) === E.ENOENT) return undefined;
    throw failed('read', path, error);
  }
}

function judge(target: string, content: string, mark = ''): State {
  const [, owner, sum] = MARK.exec(mark) ?? [];
  if (owner !== target) return 'foreign';
  return sum === digest(content) ? 'ours' : 'changed';
}

function readMark(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === E.ENOENT) return '';
    throw failed('read', path, error);
  }
}

export function failed(what: string, path: string, error: unknown): UserError {
  const errno = errnoOf(error);
  const rights = errno === E.EACCES || errno === E.EPERM;
  return new UserError(
    `cannot ${what} ${path}: ${errnoText(errno)}${rights ? '; run it as a user who may' : ''}`,
  );
}

interface Staged {
  readonly temporary: string;
  readonly path: string;
}

/** One write of an installation. */
export interface Written {
  readonly path: string;
  readonly content: string;
  readonly mode: number;
  /** Who owned what was there. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/** Writes all files or, where one cannot be written, none; throws UserError. `more` comes last. */
export function putFiles(
  target: string,
  files: readonly PlannedFile[],
  more: readonly Written[] = [],
): void {
  for (const file of files) {
    const state = stateOf(target, file);
    if (state === 'foreign') {
      throw new UserError(
        `${file.path} is there and not from stratafs install ${target}: move it away, or add by hand what --dry-run shows`,
      );
    }
    if (state === 'changed') {
      throw new UserError(
        `${file.path} was changed since stratafs install ${target} wrote it: remove it, or add by hand what --dry-run shows`,
      );
    }
  }
  writeAll([...files.flatMap((file) => writesOf(target, file)), ...more]);
}

function writesOf(target: string, file: PlannedFile): Written[] {
  const { path, content, mode = 0o644, comment } = file;
  const own = { path, content: marked(target, file), mode };
  if (comment !== 'none') return [own];
  return [own, { path: sidecar(path), content: `${markText(target, content)}\n`, mode }];
}

/** All of them or, where one cannot be written, none; throws UserError. They get their names in this order. */
export function writeAll(writes: readonly Written[]): void {
  const staged: Staged[] = [];
  try {
    for (const write of writes) staged.push(stage(write));
    for (const { temporary, path } of staged) rename(temporary, path);
  } catch (error) {
    // ENOENT: it has its name.
    for (const { temporary } of staged) rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectories(staged.map(({ path }) => dirname(path)));
}

function stage({ path, content, mode, owner }: Written): Staged {
  const temporary = join(dirname(path), `.${randomBytes(6).toString('hex')}.tmp`);
  try {
    mkdirSync(dirname(path), { recursive: true });
    const fd = openSync(temporary, 'wx', 0o600);
    try {
      const data = Buffer.from(content, 'utf8');
      for (let done = 0; done < data.length; ) done += writeSync(fd, data, done);
      if (owner) fchownSync(fd, owner.uid, owner.gid);
      fchmodSync(fd, mode);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    rmSync(temporary, { force: true });
    throw failed('write', path, error);
  }
  return { temporary, path };
}

function rename(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    throw failed('write', to, error);
  }
}

/** The names are on the disk; one that cannot be synced is written sooner or later all the same. */
function syncDirectories(paths: readonly string[]): void {
  for (const path of new Set(paths)) {
    try {
      const fd = openSync(path, 'r');
      fsyncSync(fd);
      closeSync(fd);
    } catch (error) {
      errnoOf(error);
    }
  }
}

/**
 * Removes what is ours and unchanged, and directories of ours that are empty then. Returns a sentence
 * for each file that stays; throws UserError when one cannot be removed.
 */
export function takeFiles(
  target: string,
  files: readonly PlannedFile[],
  directories: readonly string[] = [],
): string[] {
  const left: string[] = [];
  const touched: string[] = [];
  for (const file of files) {
    const state = stateOf(target, file);
    if (state === 'missing') continue;
    if (state !== 'ours') {
      const why = state === 'changed' ? 'was changed' : `is not from stratafs install ${target}`;
      left.push(`${file.path} stays, as it ${why}: remove it by hand`);
      continue;
    }
    remove(file.path);
    if (file.comment === 'none') remove(sidecar(file.path));
    touched.push(dirname(file.path));
  }
  for (const directory of directories) removeEmpty(directory);
  syncDirectories(touched);
  return left;
}

export function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== E.ENOENT) throw failed('remove', path, error);
  }
}

function removeEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === E.ENOENT || errno === E.ENOTEMPTY || errno === E.EEXIST) return;
    throw failed('remove', path, error);
  }
}
