/**
 * Lists the objects of a source in the order of the archive: names sorted as bytes, a directory before its
 * content. An item names open directories, so a caller reads it before it takes the next one.
 */
import { errnoText, UserError } from '../base/errno.js';
import { DT_DIR } from '../base/mode.js';
import { readEntries } from '../layer/directory.js';
import { isDotMark } from '../layer/whiteout.js';
import type { Sys } from '../sys/sys.js';
import { shown } from './limits.js';
import type { Found, Part, Shown, Stack } from './stack.js';

export interface Item {
  /** `whiteout` stands for the deletion of `path`, `opaque` in directory `path` for that of all that it had. */
  readonly kind: 'object' | 'whiteout' | 'opaque';
  readonly path: string;
  /** Where it lies; of a whiteout that is no object, -1. */
  readonly dir: number;
  readonly name: string;
  /** Position of its layer. */
  readonly layer: number;
  /** Where its data is, when that is elsewhere. */
  readonly data: Found | undefined;
  /** It is another name of an object that has been written: under which, and its statx. */
  readonly same?: { readonly first: string; readonly stat: Uint32Array };
  /** What is to be other in the archive than on the disk. */
  readonly as?: Override;
}

export interface Override {
  readonly uid?: number;
  readonly gid?: number;
  /** Permission bits; not of symlinks, which have none. */
  readonly mode?: number;
  /** Whole seconds since 1970. */
  readonly mtime?: number;
}

export type Items = Generator<Item, void>;
type NameList = readonly string[];

export const item = (
  kind: Item['kind'],
  path: string,
  { fd, layer }: Pick<Part, 'fd' | 'layer'>,
  name: string,
  data?: Found,
): Item => ({ kind, path, dir: fd, name, layer, data });

export const under = (path: string, name: string): string =>
  path === '' ? name : `${path}/${name}`;

export function readError(path: string, code: number): UserError {
  return new UserError(`cannot read ${path === '' ? 'the root' : shown(path)}: ${errnoText(code)}`);
}

/** Sorted as bytes. `dirs` gets those of directories. */
export function namesOf(sys: Sys, fd: number, path: string, dirs?: Set<string>): string[] {
  const names: string[] = [];
  const read = readEntries(sys, fd, (name, type) => {
    names.push(name);
    if (type === DT_DIR) dirs?.add(name);
  });
  if (read < 0) throw readError(path, read);
  return names.sort();
}

/** One directory tree as it is; `part` is its root. */
export function* walkTree(stack: Stack, part: Part, path: string): Items {
  const dirs = new Set<string>();
  for (const name of namesOf(stack.sys, part.fd, path, dirs)) {
    const full = under(path, name);
    yield item('object', full, part, name);
    if (!dirs.has(name)) continue;
    const below = stack.open(part, name);
    try {
      yield* walkTree(stack, below, full);
    } finally {
      stack.closeParts([below]);
    }
  }
}

/** What the merged directory `parts` shows. */
export function* walkUnion(stack: Stack, parts: readonly Part[], path: string): Items {
  for (const name of unionNames(stack, parts, path)) {
    const full = under(path, name);
    const what = stack.look(parts, name);
    try {
      if (what.kind === 'object') yield objectOf(full, what);
      if (what.kind !== 'dir') continue;
      yield item('object', full, what.parts[0], '.');
      yield* walkUnion(stack, what.parts, full);
    } finally {
      stack.release(what);
    }
  }
}

function unionNames(stack: Stack, parts: readonly Part[], path: string): NameList {
  if (parts.length === 1) {
    return namesOf(stack.sys, parts[0].fd, path).filter((name) => !isDotMark(name));
  }
  const names = new Set<string>();
  for (const { fd } of parts) {
    for (const name of namesOf(stack.sys, fd, path)) if (!isDotMark(name)) names.add(name);
  }
  return [...names].sort();
}

export const objectOf = (path: string, { object, data }: Shown & { kind: 'object' }): Item =>
  item('object', path, { fd: object.dir, layer: object.layer }, object.name, data);
