/** The descriptor of a regular file's data. It is opened at the first READ or WRITE and kept. */
import { E } from '../../base/errno.js';
import { O_APPEND, O_RDONLY, O_RDWR } from '../../sys/constants.js';
import { noXattr } from '../../layer/absence.js';
import { CAPABILITY } from '../../layer/xattrs.js';
import { guardOf, IMMUTABLE } from '../guard.js';
import { F_CAPABLE, F_COVERED, F_METACOPY, F_UPPER } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';

/**
 * The data descriptor of a regular file, kept and made the session's backing; -errno on failure.
 * An upper file is opened for reading and writing, unless a change has more to do first.
 */
export function dataFile(ov: Overlay, node: number): number {
  const cached = ov.keptFile(node);
  const first = ov.openedAhead.size > 0 && ov.openedAhead.delete(node);
  if (cached !== undefined && !first) return cached;
  const writable = isWritable(ov, node);
  const fd = cached ?? keep(ov, node, writable);
  const known = fd >= 0 && writable && cached === undefined ? knowCapability(ov, node, fd) : 0;
  if (known < 0) return known;
  // What is written to a file with capabilities passes through `io.write`, which keeps them.
  const plain = writable && !ov.table.has(node, F_CAPABLE) && isPlain(ov, node);
  if (fd >= 0) ov.setBacking(node, fd, plain);
  return fd;
}

/** Opens a regular file that `dataFile` will be asked for; -EEXIST when it is open, -errno. */
export function openAhead(ov: Overlay, node: number): number {
  if (ov.hasFile(node)) return -E.EEXIST;
  const fd = keep(ov, node, isWritable(ov, node));
  if (fd >= 0) ov.openedAhead.add(node);
  return fd;
}

/**
 * Pages of a shared mapping are written back like any, and the write would take the file's capabilities
 * away, which a store to memory does not: so it must come to `io.write`. 0 or -errno.
 */
function knowCapability(ov: Overlay, node: number, fd: number): number {
  if (ov.table.has(node, F_CAPABLE)) return 0;
  const size = ov.sys.native.getxattr(fd, '', CAPABILITY, 0, 0);
  if (size > 0) ov.table.set(node, F_CAPABLE);
  if (size >= 0 || noXattr(size)) return 0;
  ov.dropFile(node);
  return size;
}

/** Opens the file and keeps the descriptor; -errno. */
function keep(ov: Overlay, node: number, writable: boolean): number {
  const fd = ov.keepFile(node, writable ? O_RDWR : O_RDONLY);
  if (!writable || fd !== -E.EPERM) return fd;
  // The upper came with chattr(1)'s flags on the file itself: it is read, and appended to.
  const guard = guardOf(ov, node);
  if (guard <= 0) return guard < 0 ? guard : fd;
  return ov.keepFile(node, (guard & IMMUTABLE) !== 0 ? O_RDONLY : O_RDWR | O_APPEND);
}

function isWritable({ table }: Overlay, node: number): boolean {
  return table.has(node, F_UPPER) && !table.has(node, F_METACOPY | F_COVERED);
}

/** The session may write to the file by itself. */
const isPlain = (ov: Overlay, node: number): boolean =>
  guardOf(ov, node) === 0 && hidesCapability(ov, node) === 0;

/** 1 for an upper file whose capabilities the first write must take away by itself, 0 for another, -errno. */
export function hidesCapability(ov: Overlay, node: number): number {
  if (!ov.overrides) return 0;
  const dir = ov.realDir(node);
  return dir < 0 ? dir : ov.overrides.hidesCapability(dir, ov.realName(node));
}
