/** Random operations on the pool of names; each is one command of the test client. */
import { type Word, encodeWord } from '../support/client.js';
import { LINK_TARGETS, MODES, OWNERS, somePath } from './layers.js';
import type { Random } from './random.js';

export type Operation = readonly [string, ...Word[]];

export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  /** Always set here: an open of a FIFO must not wait. */
  NONBLOCK: 0o4000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
  TMPFILE: 0o20200000,
} as const;
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;
export const UTIME_NOW = 0x3fffffff;
export const UTIME_OMIT = 0x3ffffffe;

const SLOTS = 4;
/** For one change at once. */
const CHANGE_SLOT = SLOTS;
/** Read-only descriptors; nothing is copied from them, see ACCEPTED. */
const READER_SLOTS = [SLOTS + 1, SLOTS + 2];
const XATTRS = ['user.one', 'user.two', 'trusted.two', 'trusted.three', 'user.empty', 'security.x'];

/** True for a slot that is only ever opened for reading. */
export function isReaderSlot(slot: Word | undefined): boolean {
  return READER_SLOTS.includes(Number(slot));
}

/**
 * What probably exists: the generator does not know how operations end, it only leans towards names
 * and descriptors that are there, so that most operations do something.
 */
class State {
  readonly random: Random;
  private readonly files: string[] = [];
  private readonly dirs: string[] = ['.'];
  private readonly open: number[] = [];

  constructor(random: Random, seen: ReadonlyMap<string, boolean>) {
    this.random = random;
    for (const [path, isDir] of seen) (isDir ? this.dirs : this.files).push(path);
  }

  private likely(from: readonly string[], percent: number): string {
    return from.length > 0 && this.random.chance(percent)
      ? this.random.pick(from)
      : somePath(this.random);
  }
  any(): string {
    return this.likely(this.random.chance(60) ? this.files : this.dirs.slice(1), 60);
  }
  file(): string {
    return this.likely(this.files, 75);
  }
  dir(): string {
    return this.likely(this.dirs, 75);
  }
  /** A name for something new, most often in a directory that is there. */
  fresh(isDir: boolean): string {
    const [name = 'f'] = somePath(this.random).split('/').slice(-1);
    const parent = this.random.pick(this.dirs);
    const path =
      this.random.chance(40) || parent.split('/').length > 2
        ? somePath(this.random)
        : parent === '.'
          ? name
          : `${parent}/${name}`;
    (isDir ? this.dirs : this.files).push(path);
    return path;
  }
  /** A slot to open something in. */
  slot(): number {
    const slot = this.random.below(SLOTS);
    this.open.push(slot);
    return slot;
  }
  opened(): number {
    return this.open.length > 0 && this.random.chance(90)
      ? this.random.pick(this.open.slice(-SLOTS))
      : this.random.below(SLOTS);
  }
}

function openFlags(random: Random): number {
  let flags: number = random.pick([O.WRONLY, O.RDWR, O.RDWR]);
  if (random.chance(45)) flags |= O.CREAT;
  if (random.chance(10)) flags |= O.EXCL;
  if (random.chance(15)) flags |= O.TRUNC;
  if (random.chance(15)) flags |= O.APPEND;
  if (random.chance(8)) flags |= O.NOFOLLOW;
  if (random.chance(4)) flags |= O.DIRECTORY;
  return flags | O.NONBLOCK;
}

/** Opens, changes and closes in one go. */
function change(state: State): Operation[] {
  const at = CHANGE_SLOT;
  return [
    ['open', at, state.file(), O.RDWR | O.NONBLOCK, 0],
    ...dataChange(state, at),
    ['fstat', at],
    ['close', at],
  ];
}

function dataChange(state: State, at: number): Operation[] {
  const { random } = state;
  const offset = random.below(20_000);
  const length = 1 + random.below(9000);
  switch (random.below(6)) {
    case 0:
      return [['write', at, -1, `written ${random.below(1000)}`]];
    case 1:
      return [['ftruncate', at, offset]];
    case 2: {
      const mode = random.pick([
        0,
        FALLOC.KEEP_SIZE,
        FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE,
        FALLOC.KEEP_SIZE | FALLOC.ZERO_RANGE,
        FALLOC.ZERO_RANGE,
      ]);
      return [['fallocate', at, mode, offset, length]];
    }
    case 3:
      return [['copyrange', at, random.below(5000), state.opened(), offset, length]];
    default:
      return [['fill', at, offset, length, random.below(1000)]];
  }
}

function look(random: Random, at: number): Operation[] {
  switch (random.below(4)) {
    case 0:
      return [['read', at, random.below(20_000), 1 + random.below(9000)]];
    case 1:
      return [['read', at, -1, 300]];
    case 2:
      return [['fstat', at]];
    default:
      // Not SEEK_HOLE: over preallocated blocks its answer depends on what is cached.
      return [['lseek', at, random.below(200), random.pick([1, 2])]];
  }
}

function tmpfile(state: State): Operation[] {
  const { random } = state;
  const at = state.slot();
  return [
    ['open', at, state.dir(), O.TMPFILE | O.RDWR, random.pick(MODES)],
    ['fill', at, 0, random.below(5000), random.below(1000)],
    ['linkfd', at, state.fresh(false)],
    ['fstat', at],
  ];
}

/** Removes a name whose file is open, and looks at what is left. */
function orphan(state: State): Operation[] {
  const { random } = state;
  const at = state.slot();
  const path = state.file();
  return [
    ['open', at, path, O.RDWR | O.NONBLOCK, 0],
    ['unlink', path],
    ['read', at, 0, 400],
    ['fill', at, 100, 50, random.below(1000)],
    // Not fchmod: with a FIFO or a device of a lower, kernel overlayfs brings the name back.
    ['fsetxattr', at, 'user.orphan', '1', 0],
    ['fstat', at],
    ['lstat', path],
  ];
}

function times(random: Random): Word[] {
  const ns = () => random.pick([0, 1, 999_999_999, UTIME_NOW, UTIME_OMIT, random.below(1e9)]);
  const sec = () => random.pick([0, 1, 1_234_567_890, -5, 2 ** 32 + 7]);
  return [sec(), ns(), sec(), ns()];
}

/**
 * Never -1 for both: the kernel then clears setuid bits, and asks for the rights to, but sends a FUSE
 * server nothing (fuse_setattr with HANDLE_KILLPRIV_V2).
 */
function chown(state: State, random: Random): Operation {
  const owner = random.pick([-1, ...OWNERS]);
  const group = random.pick(owner === -1 ? OWNERS : [-1, ...OWNERS]);
  return ['chown', state.any(), owner, group];
}

type Maker = (state: State, random: Random) => Operation[];

function one(make: (state: State, random: Random) => Operation): Maker {
  return (state, random) => [make(state, random)];
}

function renaming(flags: number): Maker {
  return one((s, r) => {
    const from = s.any();
    return ['rename', from, r.chance(60) ? s.fresh(r.chance(40)) : s.any(), flags];
  });
}

function opening(state: State, random: Random): Operation[] {
  const flags = openFlags(random);
  const path = (flags & O.CREAT) !== 0 && random.chance(60) ? state.fresh(false) : state.file();
  return [['open', state.slot(), path, flags, random.pick(MODES)]];
}

function reading(state: State, random: Random): Operation[] {
  const flags = O.NONBLOCK | random.pick([O.RDONLY, O.RDONLY, O.DIRECTORY, O.NOFOLLOW]);
  return [['open', random.pick(READER_SLOTS), state.any(), flags, 0]];
}

const MAKERS: readonly (readonly [number, Maker])[] = [
  [7, opening],
  [3, reading],
  [3, (_, r) => look(r, r.pick(READER_SLOTS))],
  [3, one((s) => ['close', s.opened()])],
  [10, change],
  [6, (s) => dataChange(s, s.opened())],
  [6, (s, r) => look(r, s.opened())],
  [4, orphan],
  [2, tmpfile],
  [7, one((s, r) => ['mkdir', s.fresh(true), r.pick([0o755, 0o700, 0o777, 0o2775])])],
  [6, one((s) => ['rmdir', s.dir()])],
  [7, one((s) => ['unlink', s.file()])],
  [9, renaming(0)],
  [3, renaming(RENAME.NOREPLACE)],
  [4, renaming(RENAME.EXCHANGE)],
  [5, one((s) => ['link', s.file(), s.fresh(false)])],
  [3, one((s, r) => ['symlink', r.pick(LINK_TARGETS), s.fresh(false)])],
  [2, one((s, r) => ['mknod', s.fresh(false), 0o010000 | r.pick(MODES), 0, 0])],
  [2, one((s, r) => ['mknod', s.fresh(false), 0o020000 | r.pick(MODES), 1, r.pick([3, 5])])],
  [1, one((s, r) => ['mknod', s.fresh(false), 0o140000 | r.pick(MODES), 0, 0])],
  [6, one((s, r) => ['chmod', s.any(), r.pick(MODES)])],
  [4, one(chown)],
  [4, one((s, r) => ['utimens', s.any(), ...times(r)])],
  [3, one((s, r) => ['truncate', s.file(), r.below(12_000)])],
  [
    4,
    one((s, r) => ['setxattr', s.any(), r.pick(XATTRS), `v${r.below(99)}`, r.pick([0, 0, 1, 2])]),
  ],
  [3, one((s, r) => ['removexattr', s.any(), r.pick(XATTRS)])],
  [2, one((s, r) => ['getxattr', s.any(), r.pick(XATTRS)])],
  [2, one((s) => ['listxattr', s.any()])],
  [4, one((s) => ['lstat', s.any()])],
  [2, one((s) => ['stat', s.any()])],
  [4, one((s) => ['readdir', s.dir()])],
  [2, one((s) => ['readlink', s.file()])],
  [2, one((s, r) => ['access', s.any(), r.below(8)])],
  [1, one((s) => ['fsync', s.opened()])],
  [1, one(() => ['statfs', '.'])],
  [1, one(() => ['forget'])],
  [2, one((_, r) => (r.chance(70) ? ['ident', 0, 0] : ['ident', 1000, 1000]))],
  [1, one((_, r) => ['umask', r.pick([0, 0o022, 0o077])])],
];

/** At least `count` operations on what the layers show (`seen`: path → is a directory). */
export function someOperations(
  random: Random,
  seen: ReadonlyMap<string, boolean>,
  count: number,
): Operation[] {
  const state = new State(random, seen);
  const list: Operation[] = [];
  while (list.length < count) list.push(...random.weighted(MAKERS)(state, random));
  return list;
}

export function showOperation(operation: Operation): string {
  const [name, ...words] = operation;
  return [name, ...words.map(encodeWord)].join(' ');
}
