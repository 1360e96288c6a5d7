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

const SLOTS = 6;
const XATTRS = ['user.one', 'user.two', 'trusted.two', 'trusted.three', 'user.empty', 'security.x'];

function slot(random: Random): number {
  return random.below(SLOTS);
}

function openFlags(random: Random): number {
  let flags: number = random.pick([O.RDONLY, O.WRONLY, O.RDWR, O.RDWR]);
  if (random.chance(45)) flags |= O.CREAT;
  if (random.chance(10)) flags |= O.EXCL;
  if (random.chance(15)) flags |= O.TRUNC;
  if (random.chance(15)) flags |= O.APPEND;
  if (random.chance(8)) flags |= O.NOFOLLOW;
  if (random.chance(4)) flags |= O.DIRECTORY;
  return flags | O.NONBLOCK;
}

/** Opens, changes and closes in one go, so that most changes meet a file that exists. */
function change(random: Random): Operation[] {
  const at = slot(random);
  return [
    ['open', at, somePath(random), O.RDWR | O.NONBLOCK, 0],
    ...dataChange(random, at),
    ['fstat', at],
    ['close', at],
  ];
}

function dataChange(random: Random, at: number): Operation[] {
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
      return [['copyrange', at, random.below(5000), slot(random), offset, length]];
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
      // What is still only in the page cache is a hole to a FUSE server until it is written back.
      return [
        ['fsync', at],
        ['lseek', at, random.below(20_000), random.pick([3, 4])],
      ];
  }
}

function tmpfile(random: Random): Operation[] {
  const at = slot(random);
  const parent = random.pick(['.', 'a', 'b/c', 'a/b']);
  return [
    ['open', at, parent, O.TMPFILE | O.RDWR, random.pick(MODES)],
    ['fill', at, 0, random.below(5000), random.below(1000)],
    ['linkfd', at, somePath(random)],
    ['fstat', at],
  ];
}

/** Removes a name whose file is open, and looks at what is left. */
function orphan(random: Random): Operation[] {
  const at = slot(random);
  const path = somePath(random);
  return [
    ['open', at, path, O.RDWR | O.NONBLOCK, 0],
    ['unlink', path],
    ['read', at, 0, 400],
    ['fill', at, 100, 50, random.below(1000)],
    ['fchmod', at, random.pick(MODES)],
    ['fstat', at],
    ['lstat', path],
  ];
}

function times(random: Random): Word[] {
  const ns = () => random.pick([0, 1, 999_999_999, UTIME_NOW, UTIME_OMIT, random.below(1e9)]);
  const sec = () => random.pick([0, 1, 1_234_567_890, -5, 2 ** 32 + 7]);
  return [sec(), ns(), sec(), ns()];
}

type Maker = (random: Random) => Operation[];
const one =
  (make: (random: Random) => Operation): Maker =>
  (random) => [make(random)];

const MAKERS: readonly (readonly [number, Maker])[] = [
  [10, one((r) => ['open', slot(r), somePath(r), openFlags(r), r.pick(MODES)])],
  [3, one((r) => ['close', slot(r)])],
  [10, change],
  [6, (r) => dataChange(r, slot(r))],
  [6, (r) => look(r, slot(r))],
  [4, orphan],
  [2, tmpfile],
  [7, one((r) => ['mkdir', somePath(r), r.pick([0o755, 0o700, 0o777, 0o2775])])],
  [6, one((r) => ['rmdir', somePath(r)])],
  [7, one((r) => ['unlink', somePath(r)])],
  [9, one((r) => ['rename', somePath(r), somePath(r), 0])],
  [3, one((r) => ['rename', somePath(r), somePath(r), RENAME.NOREPLACE])],
  [4, one((r) => ['rename', somePath(r), somePath(r), RENAME.EXCHANGE])],
  [5, one((r) => ['link', somePath(r), somePath(r)])],
  [3, one((r) => ['symlink', r.pick(LINK_TARGETS), somePath(r)])],
  [2, one((r) => ['mknod', somePath(r), 0o010000 | r.pick(MODES), 0, 0])],
  [2, one((r) => ['mknod', somePath(r), 0o020000 | r.pick(MODES), 1, r.pick([3, 5])])],
  [1, one((r) => ['mknod', somePath(r), 0o140000 | r.pick(MODES), 0, 0])],
  [5, one((r) => ['chmod', somePath(r), r.pick(MODES)])],
  [4, one((r) => ['chown', somePath(r), r.pick([-1, ...OWNERS]), r.pick([-1, ...OWNERS])])],
  [4, one((r) => ['utimens', somePath(r), ...times(r)])],
  [2, one((r) => ['truncate', somePath(r), r.below(12_000)])],
  [
    4,
    one((r) => ['setxattr', somePath(r), r.pick(XATTRS), `v${r.below(99)}`, r.pick([0, 0, 1, 2])]),
  ],
  [3, one((r) => ['removexattr', somePath(r), r.pick(XATTRS)])],
  [2, one((r) => ['getxattr', somePath(r), r.pick(XATTRS)])],
  [2, one((r) => ['listxattr', somePath(r)])],
  [4, one((r) => ['lstat', somePath(r)])],
  [2, one((r) => ['stat', somePath(r)])],
  [4, one((r) => ['readdir', r.chance(30) ? '.' : somePath(r)])],
  [2, one((r) => ['readlink', somePath(r)])],
  [2, one((r) => ['access', somePath(r), r.below(8)])],
  [1, one((r) => ['fsync', slot(r)])],
  [1, one(() => ['statfs', '.'])],
  [2, one((r) => ['ident', ...(r.chance(60) ? [0, 0] : [1000, 1000])] as Operation)],
  [1, one((r) => ['umask', r.pick([0, 0o022, 0o077])])],
];

export function someOperations(random: Random, count: number): Operation[] {
  const list: Operation[] = [];
  while (list.length < count) list.push(...random.weighted(MAKERS)(random));
  return list;
}

export function showOperation(operation: Operation): string {
  const [name, ...words] = operation;
  return [name, ...words.map(encodeWord)].join(' ');
}
