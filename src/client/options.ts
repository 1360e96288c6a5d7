/**
 * The options of a mount as a program gives them: one row for each, from its value to what `-o` takes
 * (src/options/table.ts has what each means). A unit test compares the two tables.
 */
import { resolve } from 'node:path';
import { toLatin1 } from '../base/bytes.js';
import { nearest } from '../options/nearest.js';
import { StratafsError } from './failure.js';

/** A path as text (UTF-8), or its bytes. A relative one starts at the current directory. */
export type Path = string | Uint8Array;

/** `count` IDs from `disk` on are shown as those from `shown` on. */
export interface IdMapping {
  readonly disk: number;
  readonly shown: number;
  readonly count: number;
}

/** Everything that `-o` takes but the layers. Absent: the default that docs/options.md has. */
export interface MountSettings {
  /** No change reaches `upper`. Default: false with an upper. */
  readonly readOnly?: boolean;
  /** Honour device nodes, set-user-ID bits; let programs run. */
  readonly dev?: boolean;
  readonly suid?: boolean;
  readonly exec?: boolean;
  /** Every write reaches the upper before it returns; `dirs`: every change of a directory. */
  readonly sync?: boolean | 'dirs';
  /** mount(8)'s words about access times; they are shown, and change nothing. */
  readonly accessTimes?:
    | 'atime'
    | 'noatime'
    | 'diratime'
    | 'nodiratime'
    | 'relatime'
    | 'norelatime'
    | 'strictatime'
    | 'nostrictatime'
    | 'lazytime'
    | 'nolazytime';
  /** Other users may enter. */
  readonly allowOther?: boolean;
  /**
   * `sync` (default): fsync reaches the disk, copy-ups are synced. `fsync=0`: nothing is synced.
   * `volatile`: the same, and the workdir is marked so that no later mount trusts the upper.
   */
  readonly durability?: 'sync' | 'fsync=0' | 'volatile';
  /** Who moves the data: `cached` (default), `passthrough` or `auto`. */
  readonly data?: 'cached' | 'passthrough' | 'auto';
  /** The kernel collects writes (default true); false is faster for reading many small files. */
  readonly writeback?: boolean;
  /** What the upper may hold. */
  readonly format?: 'plain' | 'overlay';
  readonly redirectDir?: 'on' | 'off' | 'follow' | 'nofollow';
  readonly metacopy?: boolean;
  readonly index?: boolean;
  readonly xino?: 'on' | 'off' | 'auto';
  /** Words of overlayfs of which a FUSE mount has no other value. */
  readonly verity?: 'off';
  readonly nfsExport?: false;
  readonly uuid?: 'auto' | 'null';
  /** Marks in `user.overlay.*` alone. */
  readonly userxattr?: boolean;
  readonly uidMapping?: readonly IdMapping[];
  readonly gidMapping?: readonly IdMapping[];
  /** Every object is shown with this owner. */
  readonly squashToRoot?: boolean;
  readonly squashToUid?: number;
  readonly squashToGid?: number;
  /** Owner, mode and type are kept in an xattr: 1 of `security.*`, 2 of `user.*`. */
  readonly xattrPermissions?: 1 | 2;
  /** False: no POSIX ACLs. */
  readonly acl?: boolean;
  /** SELinux labels for mount(2). */
  readonly context?: string;
  readonly fscontext?: string;
  readonly defcontext?: string;
  readonly rootcontext?: string;
  /** The source that the mount table shows. */
  readonly fsname?: string;
  readonly propagation?:
    | 'private'
    | 'rprivate'
    | 'slave'
    | 'rslave'
    | 'shared'
    | 'rshared'
    | 'unbindable'
    | 'runbindable';
  /** A file with more options. */
  readonly optionsFile?: Path;
  /** Further options, each as `-o` takes it: `x-name=value`. */
  readonly options?: readonly string[];
}

type Row = (value: unknown, name: string) => readonly string[];

const wrong = (name: string, wants: string): StratafsError =>
  new StratafsError('ERR_ARGUMENT', `${name} is to be ${wants}`);

/** Characters that mean something in `-o`. */
const escapeOption = (text: string): string => text.replace(/[\\,:]/g, '\\$&');

/** Absolute, as bytes (latin1). */
export function pathOf(value: unknown, name: string): string {
  const text = value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value;
  if (typeof text !== 'string' || text === '') throw wrong(name, 'a path: a string or its bytes');
  if (text.includes('\0')) throw wrong(name, 'a path without a NUL byte');
  if (typeof value === 'string') return toLatin1(resolve(value));
  return text.startsWith('/') ? text : `${toLatin1(resolve('.'))}/${text}`;
}

const boolean =
  (on: readonly string[], off: readonly string[]): Row =>
  (value, name) => {
    if (typeof value !== 'boolean') throw wrong(name, 'true or false');
    return value ? on : off;
  };

const word = (yes: string, no: string): Row => boolean([yes], [no]);

const choice =
  (words: Readonly<Record<string, readonly string[]>>): Row =>
  (value, name) => {
    if (typeof value === 'string' && Object.hasOwn(words, value)) return words[value];
    throw wrong(
      name,
      Object.keys(words)
        .map((each) => `'${each}'`)
        .join(' or '),
    );
  };

/** `option=VALUE`, of these values. */
const oneOf = (option: string, ...values: readonly string[]): Row =>
  choice(Object.fromEntries(values.map((value) => [value, [`${option}=${value}`]])));

const bare = (...values: readonly string[]): Row =>
  choice(Object.fromEntries(values.map((value) => [value, [value]])));

const text =
  (option: string): Row =>
  (value, name) => {
    if (typeof value !== 'string' || value.includes('\0')) throw wrong(name, 'a string');
    return [`${option}=${escapeOption(toLatin1(value))}`];
  };

/** mount(2) gets a label as it is, and quotes guard its commas. */
const label =
  (option: string): Row =>
  (value, name) => {
    if (typeof value !== 'string' || /["\0]/.test(value)) throw wrong(name, 'a SELinux label');
    return [`${option}="${toLatin1(value)}"`];
  };

const isId = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32;

const id =
  (option: string): Row =>
  (value, name) => {
    if (!isId(value)) throw wrong(name, 'an ID: a whole number below 2^32');
    return [`${option}=${value}`];
  };

const mapping =
  (option: string): Row =>
  (value, name) => {
    if (!Array.isArray(value)) throw wrong(name, 'an array of { disk, shown, count }');
    const ranges = value.map((range: Partial<IdMapping> | null) => {
      const { disk, shown, count } = range ?? {};
      if (!isId(disk) || !isId(shown) || !isId(count)) {
        throw wrong(name, 'an array of { disk, shown, count }, each an ID');
      }
      return `${disk}:${shown}:${count}`;
    });
    return ranges.length === 0 ? [] : [`${option}=${ranges.join(':')}`];
  };

const SYNC: Row = (value, name) => {
  if (value === 'dirs') return ['dirsync'];
  if (typeof value !== 'boolean') throw wrong(name, "true, false or 'dirs'");
  return [value ? 'sync' : 'async'];
};

export const SETTINGS: Readonly<Record<keyof MountSettings, Row>> = {
  readOnly: boolean(['ro'], []),
  dev: word('dev', 'nodev'),
  suid: word('suid', 'nosuid'),
  exec: word('exec', 'noexec'),
  sync: SYNC,
  accessTimes: bare(
    ...['atime', 'noatime', 'diratime', 'nodiratime', 'relatime', 'norelatime'],
    ...['strictatime', 'nostrictatime', 'lazytime', 'nolazytime'],
  ),
  allowOther: boolean(['allow_other'], []),
  durability: choice({ sync: [], 'fsync=0': ['fsync=0'], volatile: ['volatile'] }),
  data: oneOf('data', 'cached', 'passthrough', 'auto'),
  writeback: word('writeback=1', 'writeback=0'),
  format: oneOf('format', 'plain', 'overlay'),
  redirectDir: oneOf('redirect_dir', 'on', 'off', 'follow', 'nofollow'),
  metacopy: word('metacopy=on', 'metacopy=off'),
  index: word('index=on', 'index=off'),
  xino: oneOf('xino', 'on', 'off', 'auto'),
  verity: oneOf('verity', 'off'),
  nfsExport: (value, name) => {
    if (value !== false) throw wrong(name, 'false');
    return ['nfs_export=off'];
  },
  uuid: oneOf('uuid', 'auto', 'null'),
  userxattr: boolean(['userxattr'], []),
  uidMapping: mapping('uidmapping'),
  gidMapping: mapping('gidmapping'),
  squashToRoot: boolean(['squash_to_root'], []),
  squashToUid: id('squash_to_uid'),
  squashToGid: id('squash_to_gid'),
  xattrPermissions: (value, name) => {
    if (value !== 1 && value !== 2) throw wrong(name, '1 or 2');
    return [`xattr_permissions=${value}`];
  },
  acl: boolean([], ['noacl']),
  context: label('context'),
  fscontext: label('fscontext'),
  defcontext: label('defcontext'),
  rootcontext: label('rootcontext'),
  fsname: text('fsname'),
  propagation: bare(
    ...['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared', 'unbindable', 'runbindable'],
  ),
  optionsFile: (value, name) => [`optionsfile=${escapeOption(pathOf(value, name))}`],
  options: (value, name) => {
    const strings = Array.isArray(value) && value.every((each) => typeof each === 'string');
    if (!strings) throw wrong(name, 'an array of strings');
    return value.map(toLatin1);
  },
};

function pathsOf(value: unknown, name: string): string[] {
  if (!Array.isArray(value)) throw wrong(name, 'an array of paths');
  return value.map((each, i) => pathOf(each, `${name}[${i}]`));
}

const LAYERS = ['lower', 'dataOnly', 'upper', 'work', 'mountpoint', 'signal'] as const;

function refuseUnknown(given: object): void {
  const known = [...LAYERS, ...Object.keys(SETTINGS)];
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const near = nearest(unknown, known);
  const hint = near === undefined ? '' : `: did you mean ${near}?`;
  throw new StratafsError('ERR_ARGUMENT', `there is no option ${unknown}${hint}`);
}

/** The text after `-o`, as bytes (latin1). Throws StratafsError for what is no option of a mount. */
export function optionList(given: unknown): string {
  if (typeof given !== 'object' || given === null) throw wrong('what to mount', 'an object');
  refuseUnknown(given);
  const fields = given as Readonly<Record<string, unknown>>;
  const lower = pathsOf(fields['lower'], 'lower');
  if (lower.length === 0) throw wrong('lower', 'an array of at least one path');
  const data = fields['dataOnly'] === undefined ? [] : pathsOf(fields['dataOnly'], 'dataOnly');
  const layers = [
    lower.map(escapeOption).join(':'),
    ...data.map((path) => `::${escapeOption(path)}`),
  ];
  const words = [`lowerdir=${layers.join('')}`];
  for (const name of ['upper', 'work'] as const) {
    if (fields[name] !== undefined)
      words.push(`${name}dir=${escapeOption(pathOf(fields[name], name))}`);
  }
  for (const [name, row] of Object.entries(SETTINGS)) {
    if (fields[name] !== undefined) words.push(...row(fields[name], name));
  }
  return words.join(',');
}
