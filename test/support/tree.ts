/**
 * Layer fixtures, described as data and built exactly (bytes of names, modes, owners, xattrs, nanoseconds),
 * and manifests: everything that a user can see of every name in a tree.
 */
import { Client, type Word, decodeWord } from './client.js';

export interface Attributes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds and nanoseconds. */
  readonly mtime?: readonly [number, number];
  readonly xattrs?: Readonly<Record<string, string>>;
}

export type Data =
  | string
  /** `size` bytes that the seed determines; with `hole`, that many bytes of hole come first. */
  | { readonly size: number; readonly seed: number; readonly hole?: number };

export type Entry = Attributes & { readonly path: string } & (
    | { readonly kind: 'file'; readonly data: Data }
    | { readonly kind: 'dir' }
    | { readonly kind: 'symlink'; readonly target: string }
    | {
        readonly kind: 'node';
        readonly type: 'char' | 'block' | 'fifo' | 'socket';
        readonly major: number;
        readonly minor: number;
      }
    | { readonly kind: 'link'; readonly target: string }
  );

const TYPE = { char: 0o020000, block: 0o060000, fifo: 0o010000, socket: 0o140000 };

export function file(path: string, data: Data = '', more: Attributes = {}): Entry {
  return { kind: 'file', path, data, ...more };
}
export function dir(path: string, more: Attributes = {}): Entry {
  return { kind: 'dir', path, ...more };
}
export function symlink(path: string, target: string, more: Attributes = {}): Entry {
  return { kind: 'symlink', path, target, ...more };
}
export function device(path: string, major: number, minor: number, more: Attributes = {}): Entry {
  return { kind: 'node', type: 'char', path, major, minor, ...more };
}
export function fifo(path: string, more: Attributes = {}): Entry {
  return { kind: 'node', type: 'fifo', path, major: 0, minor: 0, ...more };
}
/** One more name of the file `target`, which stands earlier in the list. */
export function hardlink(path: string, target: string): Entry {
  return { kind: 'link', path, target };
}
/** Kernel overlayfs's whiteout: a 0:0 character device. */
export function whiteout(path: string): Entry {
  return { kind: 'node', type: 'char', path, major: 0, minor: 0, mode: 0 };
}
/** A directory that hides what lower layers have under its name. */
export function opaque(path: string, more: Attributes = {}): Entry {
  return { kind: 'dir', path, ...more, xattrs: { ...more.xattrs, 'trusted.overlay.opaque': 'y' } };
}
function split(path: string): [string, string] {
  const slash = path.lastIndexOf('/');
  return [path.slice(0, slash + 1), path.slice(slash + 1)];
}
/** The AUFS form of a whiteout, as OCI layers have it: an empty file `.wh.NAME`. */
export function whFile(path: string): Entry {
  const [parent, name] = split(path);
  return file(`${parent}.wh.${name}`);
}
/** The AUFS form of an opaque directory: the mark `.wh..wh..opq` inside it. */
export function whOpaque(path: string): Entry {
  return file(path === '' ? '.wh..wh..opq' : `${path}/.wh..wh..opq`);
}

type Command = readonly [string, ...Word[]];
const O_RDWR_CREAT_EXCL = 0o2 | 0o100 | 0o200;

function create(entry: Entry): Command[] {
  const mode = entry.mode ?? (entry.kind === 'dir' ? 0o755 : 0o644);
  switch (entry.kind) {
    case 'dir':
      return [['mkdir', entry.path, mode]];
    case 'symlink':
      return [['symlink', entry.target, entry.path]];
    case 'link':
      return [['link', entry.target, entry.path]];
    case 'node':
      return [['mknod', entry.path, TYPE[entry.type] | mode, entry.major, entry.minor]];
    case 'file': {
      const { data } = entry;
      const hole = typeof data === 'string' ? 0 : (data.hole ?? 0);
      const write: Command =
        typeof data === 'string' ? ['write', 0, -1, data] : ['fill', 0, hole, data.size, data.seed];
      return [['open', 0, entry.path, O_RDWR_CREAT_EXCL, mode], write, ['close', 0]];
    }
  }
}

/** Owner before mode (chown clears setuid bits), times last. */
function attributes(entry: Entry): Command[] {
  if (entry.kind === 'link') return [];
  const commands: Command[] = [];
  if (entry.uid !== undefined || entry.gid !== undefined)
    commands.push(['chown', entry.path, entry.uid ?? 0, entry.gid ?? 0]);
  if (entry.mode !== undefined && entry.kind !== 'symlink')
    commands.push(['chmod', entry.path, entry.mode]);
  for (const [name, value] of Object.entries(entry.xattrs ?? {}))
    commands.push(['setxattr', entry.path, name, value, 0]);
  return commands;
}

const DEFAULT_MTIME: readonly [number, number] = [1_600_000_000, 123_456_789];

function times(entry: Entry): Command[] {
  if (entry.kind === 'link') return [];
  const [sec, ns] = entry.mtime ?? DEFAULT_MTIME;
  return [['utimens', entry.path, sec, ns, sec, ns]];
}

/** Builds the entries, parents first, in the existing directory `root`. */
export async function build(root: string, entries: readonly Entry[]): Promise<void> {
  const client = await Client.start(root);
  try {
    const commands = [
      ...entries.flatMap((entry) => [...create(entry), ...attributes(entry)]),
      ...entries.toReversed().flatMap(times),
      ['utimens', '.', ...DEFAULT_MTIME, ...DEFAULT_MTIME] as Command,
    ];
    await Promise.all(commands.map(([name, ...words]) => client.must(name, ...words)));
  } finally {
    await client.close();
  }
}

/** path → field → value; paths are relative, the tree itself is ".". */
export type Manifest = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** `numbers`: also with inode numbers, which no two trees share. */
function parseManifest(line: string, numbers = false): Manifest {
  if (!line.startsWith('ok')) throw new Error(`no manifest: ${line}`);
  const manifest = new Map<string, Map<string, string>>();
  for (const text of line.slice(3).split('\t')) {
    const [path = '', ...fields] = text.trim().split(',');
    const values = new Map<string, string>();
    for (const field of fields) {
      const [key = '', value = ''] = field.replaceAll(' ', '').split('=');
      if (key !== 'ino' || numbers) values.set(key, value);
    }
    manifest.set(decodeWord(path), values);
  }
  return manifest;
}

export async function manifest(client: Client, path = '.', numbers = false): Promise<Manifest> {
  return parseManifest(await client.line('manifest', [path], 120_000), numbers);
}

/** The manifest of a directory that is no mount under test, or of a mount that is known to answer. */
export async function manifestOf(dir: string): Promise<Manifest> {
  const client = await Client.start(dir);
  try {
    return await manifest(client);
  } finally {
    await client.close();
  }
}

/** Fields that are not compared: (path, field) → true. */
export type Ignore = (path: string, field: string) => boolean;

/** One line for each difference; empty when the trees are the same. */
export function differences(
  left: Manifest,
  right: Manifest,
  ignore: Ignore = () => false,
): string[] {
  const lines: string[] = [];
  for (const path of new Set([...left.keys(), ...right.keys()])) {
    const a = left.get(path);
    const b = right.get(path);
    const shown = JSON.stringify(path);
    if (a === undefined || b === undefined) {
      lines.push(`${shown}: only ${a === undefined ? 'right' : 'left'}`);
      continue;
    }
    for (const field of new Set([...a.keys(), ...b.keys()])) {
      if (a.get(field) === b.get(field) || ignore(path, field)) continue;
      lines.push(`${shown}: ${field} is ${a.get(field) ?? 'absent'} | ${b.get(field) ?? 'absent'}`);
    }
  }
  return lines;
}

/** True for the xattrs that union mounts keep for themselves. */
export function isPrivateXattr(field: string): boolean {
  return /^x:(trusted|user)\.overlay\./.test(field);
}
