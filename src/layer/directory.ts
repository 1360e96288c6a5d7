/** Reads the raw entries of one directory of one layer. */
import { DT_UNKNOWN, dtype } from '../base/mode.js';
import { O_DIRECTORY, O_RDONLY, RESOLVE_LAYER, STATX_TYPE } from '../sys/constants.js';
import { DENTS, DENTS_SIZE, type Sys } from '../sys/sys.js';
import { vanished } from './absence.js';

/** linux_dirent64: u64 ino, i64 off, u16 reclen, u8 type, name. */
const D_RECLEN = 16;
const D_TYPE = 18;
const D_NAME = 19;

/** False ends the reading, -errno ends it with that. */
export type EntryVisitor = (name: string, type: number, inoLo: number, inoHi: number) => unknown;

/**
 * Calls `visit` for every entry of the directory behind `dirfd` (O_PATH is enough) but "." and "..",
 * with its d_type (asked by statx where the file system does not tell) and d_ino. The visitor may
 * make system calls, but none that reads a directory. `blocks`: no more than so many times DENTS_SIZE
 * bytes. Returns 0, also when the visitor has ended it, or -errno.
 */
export function readEntries(
  sys: Sys,
  dirfd: number,
  visit: EntryVisitor,
  blocks = Infinity,
): number {
  const { native } = sys;
  const fd = sys.open(dirfd, '.', O_RDONLY | O_DIRECTORY, 0, RESOLVE_LAYER);
  if (fd < 0) return fd;
  try {
    for (let block = 0; block < blocks; block++) {
      const bytes = native.getdents64(fd, DENTS, DENTS_SIZE);
      if (bytes <= 0) return bytes;
      const code = visitBlock(sys, dirfd, bytes, visit);
      if (code <= 0) return code;
    }
    return 0;
  } finally {
    native.close(fd);
  }
}

/** 1 to go on, 0 when the visitor has enough, -errno when a type cannot be told. */
function visitBlock(sys: Sys, dirfd: number, bytes: number, visit: EntryVisitor): number {
  const { u8, u16, u32 } = sys;
  const { probe } = sys.stats;
  for (let at = DENTS; at < DENTS + bytes; at += u16[(at + D_RECLEN) >> 1]) {
    const name = sys.cstring(at + D_NAME);
    if (name === '.' || name === '..') continue;
    let type = u8[at + D_TYPE];
    if (type === DT_UNKNOWN) {
      const known = sys.statName(dirfd, name, probe, STATX_TYPE);
      if (vanished(known)) continue;
      if (known < 0) return known;
      type = dtype(probe.mode);
    }
    const told = visit(name, type, u32[at >> 2], u32[(at >> 2) + 1]);
    if (told === false) return 0;
    if (typeof told === 'number' && told < 0) return told;
  }
  return 1;
}
