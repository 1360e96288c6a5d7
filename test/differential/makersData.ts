/** Random operations on open files. */
import type { Word } from '../support/client.js';
import { MODES, OWNERS } from './layers.js';
import {
  CHANGE_SLOT,
  FALLOC,
  O,
  type Operation,
  READER_SLOTS,
  UTIME_NOW,
  UTIME_OMIT,
} from './operations.js';
import type { Random } from './random.js';
import type { State } from './state.js';

export type Maker = (state: State, random: Random) => Operation[];

export function one(make: (state: State, random: Random) => Operation): Maker {
  return (state, random) => [make(state, random)];
}

const AT = CHANGE_SLOT;
const MAP = 0;

function openFlags(random: Random): number {
  let flags: number = random.pick([O.WRONLY, O.RDWR, O.RDWR]);
  if (random.chance(45)) flags |= O.CREAT;
  if (random.chance(10)) flags |= O.EXCL;
  if (random.chance(15)) flags |= O.TRUNC;
  if (random.chance(15)) flags |= O.APPEND;
  if (random.chance(8)) flags |= O.NOFOLLOW;
  if (random.chance(4)) flags |= O.DIRECTORY;
  if (random.chance(4)) flags |= O.SYNC;
  if (random.chance(4)) flags |= O.NOATIME;
  return flags | O.NONBLOCK;
}

/** Opens, changes and closes in one go. */
function change(state: State): Operation[] {
  return [
    ['open', AT, state.file(), O.RDWR | O.NONBLOCK, 0],
    ...dataChange(state, AT),
    ['fstat', AT],
    ['close', AT],
  ];
}

/**
 * COLLAPSE_RANGE and INSERT_RANGE are not here: FUSE has no word for them (fuse_file_fallocate); a
 * written sequence shows that.
 */
const FALLOC_MODES = [
  0,
  FALLOC.KEEP_SIZE,
  FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE,
  FALLOC.KEEP_SIZE | FALLOC.ZERO_RANGE,
  FALLOC.ZERO_RANGE,
  FALLOC.PUNCH_HOLE,
];

function dataChange(state: State, at: number): Operation[] {
  const { random } = state;
  const offset = random.below(20_000);
  const length = 1 + random.below(9000);
  switch (random.below(6)) {
    case 0:
      return [['write', at, -1, `written ${random.below(1000)}`]];
    case 1:
      return [['ftruncate', at, offset]];
    case 2:
      return [['fallocate', at, random.pick(FALLOC_MODES), offset, length]];
    case 3:
      return [['copyrange', at, random.below(5000), state.opened(), offset, length]];
    default:
      return [['fill', at, offset, length, random.below(1000)]];
  }
}

/** Writes through a mapping, and looks through the descriptor. */
function mapped(state: State, random: Random): Operation[] {
  const size = 5000 + random.below(9000);
  return [
    ['open', AT, state.file(), O.RDWR | O.NONBLOCK, 0],
    ['ftruncate', AT, size],
    ['mmap', MAP, AT, 4096, 3, 1],
    ['mwrite', MAP, random.below(4000), `mapped ${random.below(1000)}`],
    ['mread', MAP, 0, 4096],
    ['read', AT, 0, size],
    ['munmap', MAP, 0],
    ['fstat', AT],
    ['close', AT],
  ];
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

function tmpfile(state: State, random: Random): Operation[] {
  const at = state.slot();
  return [
    ['open', at, state.dir(), O.TMPFILE | O.RDWR, random.pick(MODES)],
    ['fill', at, 0, random.below(5000), random.below(1000)],
    ['linkfd', at, state.fresh(false)],
    ...(random.chance(30) ? [['linkfd', at, state.fresh(false)] as Operation] : []),
    ['fstat', at],
  ];
}

/** Removes a name whose file is open, by unlink or by a rename over it, and looks at what is left. */
function orphan(state: State, random: Random): Operation[] {
  const at = state.slot();
  const path = state.file();
  return [
    ['open', at, path, O.RDWR | O.NONBLOCK, 0],
    random.chance(70) ? ['unlink', path] : ['rename', state.file(), path, 0],
    ['read', at, 0, 400],
    ['fill', at, 100, 50, random.below(1000)],
    // Not fchmod: with a FIFO or a device of a lower, kernel overlayfs brings the name back.
    ['fsetxattr', at, 'user.orphan', '1', 0],
    ['fgetxattr', at, 'user.orphan'],
    ['fstat', at],
    ['lstat', path],
  ];
}

export function someTimes(random: Random): Word[] {
  const ns = () => random.pick([0, 1, 999_999_999, UTIME_NOW, UTIME_OMIT, random.below(1e9)]);
  const sec = () => random.pick([0, 1, 1_234_567_890, -5, 2 ** 32 + 7]);
  return [sec(), ns(), sec(), ns()];
}

/** The attributes of what is open, which may be a directory. */
function attributes(state: State, random: Random): Operation[] {
  const isDir = random.chance(40);
  const path = isDir ? state.dir() : state.file();
  return [
    ['open', AT, path, isDir ? O.RDONLY | O.DIRECTORY : O.RDWR | O.NONBLOCK, 0],
    random.pick<Operation>([
      ['fchmod', AT, random.pick(MODES)],
      ['fchown', AT, random.pick(OWNERS), random.pick([-1, ...OWNERS])],
      ['futimens', AT, ...someTimes(random)],
    ]),
    ['fstat', AT],
    ['close', AT],
  ];
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

/** A file with both set-id bits is changed by its owner, by another user, or by root. */
function setid(state: State, random: Random): Operation[] {
  const path = state.file();
  const who = random.pick([0, 1000, 65534]);
  return [
    ['ident', 0, 0],
    ['chmod', path, random.pick([0o6777, 0o4777, 0o2777, 0o2767])],
    ['ident', who, random.pick([0, 1000])],
    ['open', AT, path, O.RDWR | O.NONBLOCK | random.pick([0, 0, O.TRUNC]), 0],
    ...dataChange(state, AT),
    ['fstat', AT],
    ['close', AT],
    ['ident', 0, 0],
  ];
}

export const DATA_MAKERS: readonly (readonly [number, Maker])[] = [
  [7, opening],
  [3, reading],
  [3, (_, r) => look(r, r.pick(READER_SLOTS))],
  [3, one((s) => ['close', s.opened()])],
  [10, change],
  [6, (s) => dataChange(s, s.opened())],
  [6, (s, r) => look(r, s.opened())],
  [5, orphan],
  [3, tmpfile],
  [2, mapped],
  [4, attributes],
  [2, setid],
  [3, one((s, r) => ['truncate', s.file(), r.below(12_000)])],
  [1, one((s) => ['fsync', s.opened()])],
  [1, one((s) => ['fdatasync', s.opened()])],
];
