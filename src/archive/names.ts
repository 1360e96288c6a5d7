/** Turns names of members into paths beneath a root. */
import { refused, shown } from './limits.js';
import { UserError } from '../base/errno.js';

/** NAME_MAX: no file system here has longer ones. */
const NAME_MAX = 255;

/**
 * A member's name as a path without empty and `.` components; "" is the root. A slash in front says
 * "from the root", as GNU tar and Docker take it; a `..` is refused wherever it leads. `what` begins
 * the sentence's end: "has" for a name, "links to" for a target.
 */
export function beneath(entry: string, path: string, depth: number, what = 'has'): string {
  const plain = path.startsWith('./') ? path.slice(2) : path;
  const parts = plain.split('/');
  let clean = plain !== '' && parts.length <= depth;
  for (const part of parts) {
    if (part === '' || part === '.' || part === '..' || part.length > NAME_MAX) clean = false;
  }
  return clean ? plain : cleaned(entry, parts, depth, what);
}

function cleaned(entry: string, parts: readonly string[], depth: number, what: string): string {
  const kept = parts.filter((part) => part !== '' && part !== '.');
  if (kept.includes('..')) throw refused(entry, `${what} a name that climbs out with ".."`);
  const long = kept.find((part) => part.length > NAME_MAX);
  if (long !== undefined) throw refused(entry, `${what} a name longer than ${NAME_MAX} bytes`);
  if (kept.length > depth) throw refused(entry, `${what} a name of more than ${depth} parts`);
  return kept.join('/');
}

/** The path of the directory and the last name. */
export function split(path: string): [parent: string, name: string] {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? ['', path] : [path.slice(0, slash), path.slice(slash + 1)];
}

/** Longest path in one system call; below PATH_MAX (4096). */
const STEP = 4000;

/** The path in pieces that the kernel takes, each beneath the one before. */
export function steps(path: string): string[] {
  if (path.length <= STEP) return [path];
  const pieces: string[] = [];
  let from = 0;
  while (path.length - from > STEP) {
    const cut = path.lastIndexOf('/', from + STEP);
    if (cut <= from) throw new UserError(`${shown(path)} has too long a name`);
    pieces.push(path.slice(from, cut));
    from = cut + 1;
  }
  pieces.push(path.slice(from));
  return pieces;
}
