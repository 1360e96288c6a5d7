/** The descriptor that carries a regular file's data, kept open from the first READ or WRITE on. */
import { E } from '../../base/errno.js';
import { O_APPEND, O_RDONLY, O_RDWR } from '../../sys/constants.js';
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
