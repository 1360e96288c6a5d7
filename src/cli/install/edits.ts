/**
 * Files of a user that an install command changes. What was there is kept beside the file, and put back as
 * it was while nobody has changed the file since.
 */
import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { E, UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import { failed, remove, type Written } from './files.js';

export interface PlannedEdit {
  readonly path: string;
  /** The file with what we need, from what it is now; throws UserError where that contradicts. */
  readonly edit: (before: string | undefined) => string;
  /** What a person would add. */
  readonly lines: string;
}

/** Undefined: there is none. */
interface Present {
  readonly text: string;
  readonly stat: Stats;
}

const keptPath = (path: string): string =>
  join(dirname(path), `.${basename(path)}.before-stratafs`);

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

function read(path: string): Present | undefined {
  try {
    const stat = lstatSync(path);
    if (!stat.isFile()) {
      throw new UserError(`${path} is no regular file: add by hand what --dry-run shows`);
    }
    return { text: readFileSync(path, 'utf8'), stat };
  } catch (error) {
    if (error instanceof UserError) throw error;
    if (errnoOf(error) === E.ENOENT) return undefined;
    throw failed('read', path, error);
  }
}

const KEPT =
  /^# stratafs install ([a-z0-9-]+) keeps what was (here|nowhere), and puts it back \(stratafs uninstall \1\): sha256 ([0-9a-f]{64})\n/;

interface Kept {
  readonly target: string;
  /** Undefined: there was no file. */
  readonly before: string | undefined;
  /** Of the file as we wrote it. */
  readonly sum: string;
}

function readKept(path: string): Kept | undefined {
  const text = read(keptPath(path))?.text;
  if (text === undefined) return undefined;
  const [line, target, where, sum] = KEPT.exec(text) ?? [];
  if (line === undefined) {
    throw new UserError(`${keptPath(path)} is not from stratafs install: move it away`);
  }
  return { target, before: where === 'here' ? text.slice(line.length) : undefined, sum };
}

/** A file with the edit, and what the edit is made to, which an earlier installation may have kept. */
interface Edited {
  readonly edit: PlannedEdit;
  readonly now: Present | undefined;
  readonly before: string | undefined;
  readonly after: string;
}

/** Throws UserError where the file is not as it was left, or cannot have the edit. */
export function edited(name: string, edit: PlannedEdit): Edited {
  const { path } = edit;
  const now = read(path);
  const kept = readKept(path);
  if (kept && kept.target !== name) {
    throw new UserError(
      `${path} has lines of stratafs install ${kept.target}: stratafs uninstall ${kept.target} first`,
    );
  }
  if (kept && now?.text !== kept.before && (!now || digest(now.text) !== kept.sum)) {
    throw new UserError(
      `${path} was changed since stratafs install ${name} wrote it: ${byHand(edit)}; what was there before is in ${keptPath(path)}`,
    );
  }
  const before = kept ? kept.before : now?.text;
  return { edit, now, before, after: edit.edit(before) };
}

const byHand = ({ lines }: PlannedEdit): string =>
  `add by hand: ${lines.trim().split('\n').join(' / ')}`;

/** What is to be written, in this order: what was there is kept before the file changes. */
export function writesOf(name: string, { edit, now, before, after }: Edited): Written[] {
  const { path } = edit;
  if (before === after) return [];
  const mode = now === undefined ? 0o644 : now.stat.mode & 0o7777;
  const owner = now && { uid: now.stat.uid, gid: now.stat.gid };
  const where = before === undefined ? 'nowhere' : 'here';
  const line = `# stratafs install ${name} keeps what was ${where}, and puts it back (stratafs uninstall ${name}): sha256 ${digest(after)}\n`;
  return [
    { path: keptPath(path), content: line + (before ?? ''), mode, owner },
    { path, content: after, mode, owner },
  ];
}

/** What takes the edit back; a sentence where the file was changed since; undefined when there is none. */
export function undone(name: string, edit: PlannedEdit): Undo | string | undefined {
  const { path } = edit;
  const kept = readKept(path);
  if (kept?.target !== name) return undefined;
  const now = read(path);
  if (now !== undefined && now.text !== kept.before && digest(now.text) !== kept.sum) {
    const lines = edit.lines.trim().split('\n').join(' / ');
    return `${path} stays, as it was changed: take out by hand: ${lines} (what was there before is in ${keptPath(path)})`;
  }
  return {
    path,
    kept: keptPath(path),
    write:
      kept.before === undefined || now === undefined
        ? undefined
        : {
            path,
            content: kept.before,
            mode: now.stat.mode & 0o7777,
            owner: { uid: now.stat.uid, gid: now.stat.gid },
          },
  };
}

export interface Undo {
  readonly path: string;
  readonly kept: string;
  /** Undefined: the file goes, as there was none. */
  readonly write: Written | undefined;
}

/** After the file is as it was. */
export function forget({ path, kept, write }: Undo): void {
  if (write === undefined) remove(path);
  remove(kept);
}
