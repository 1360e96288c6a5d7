/**
 * Opens in the passthrough plane: which file of which layer carries a node's reads and writes, and
 * what happens when that file changes while it is open.
 *
 * The kernel opens the registered file anew for each open, with the flags of that open, so a lower
 * file must never be registered for a node that is opened for writing: the copy-up is at the open.
 * And all opens of a node have one backing file. Where readers still hold the lower file, the node
 * is retired: a successor takes its name, its object and everything else over, the open is answered
 * ESTALE, and the VFS looks the name up again and opens the successor (do_filp_open). The retired
 * node lives as long as its readers; what is asked of it is answered from its successor.
 */
import { E } from '../base/errno.js';
import { STATX } from '../protocol/layout.js';
import {
  AT_EMPTY_PATH,
  O_ACCMODE,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  STATX_SIZE,
} from '../sys/constants.js';
import { STAT_B } from '../sys/sys.js';
import { type Ids, killSetIds } from './attr.js';
import type { Backings } from './backings.js';
import { copyUp } from './copyUp.js';
import { F_ASK, F_METACOPY, F_RETIRED, F_UPPER } from './inodeTable.js';
import type { Overlay } from './overlay.js';

/** An open without a backing file: there is no data that one could carry. */
export const NO_BACKING = 0;

/**
 * Opens a regular file: returns its backing id, which is held until `Backings.release`, NO_BACKING,
 * or -errno. ESTALE: the kernel must look the name up again. `kill`: truncating clears set-id bits.
 */
export function openFile(
  ov: Overlay,
  backings: Backings,
  node: number,
  flags: number,
  kill: Ids | undefined,
): number {
  const { table } = ov;
  if (table.has(node, F_RETIRED)) return -E.ESTALE;
  const truncates = (flags & O_TRUNC) !== 0;
  const writes = truncates || (flags & O_ACCMODE) !== O_RDONLY;
  const inLower = !table.has(node, F_UPPER) || table.has(node, F_METACOPY);
  if (backings.isOpen(node) && (backings.isStale(node) || (writes && inLower))) {
    // No name leads to a successor of what has none.
    if (!ov.isGone(node)) retire(ov, backings, node);
    return -E.ESTALE;
  }
  if (writes) {
    const up = copyUp(ov, node, truncates ? 0 : Infinity);
    if (up < 0) return up;
  }
  const id = register(ov, backings, node);
  if (id <= 0) return id;
  if (truncates) {
    const code = truncate(ov, backings, node, kill);
    if (code < 0) return code;
  }
  if (mayMap(flags)) askAlways(ov, backings, node);
  backings.hold(node);
  return id;
}

/** Opens a file just made; as openFile. */
export function openNew(ov: Overlay, backings: Backings, node: number, flags: number): number {
  const id = register(ov, backings, node);
  if (id < 0) return id;
  if (mayMap(flags)) ov.table.set(node, F_ASK);
  backings.hold(node);
  return id;
}

/**
 * Opens a node once more for reading as its present readers have it: a descriptor opened by
 * /proc/self/fd or execveat, where no name can be looked up again. -ESTALE when nobody has it open.
 */
export function reopen(backings: Backings, node: number): number {
  if (!backings.isOpen(node)) return -E.ESTALE;
  backings.hold(node);
  return backings.get(node);
}

/**
 * The node's id, made when it has none. An empty lower file gets none: read by requests its readers
 * do not stand in the way of a backing file, so the node need not be retired when it is written.
 * Lock files are empty, and the locks on a node do not follow to its successor.
 */
function register(ov: Overlay, backings: Backings, node: number): number {
  const known = backings.get(node);
  if (known !== 0) return known;
  const fd = ov.openPath(node);
  if (fd < 0) return fd;
  const empty = ov.table.has(node, F_UPPER) ? 0 : isEmpty(ov, fd);
  const id = empty === 0 ? backings.add(node, fd) : empty;
  ov.sys.native.close(fd);
  return empty > 0 ? NO_BACKING : id;
}

/** 1, 0 or -errno. */
function isEmpty(ov: Overlay, fd: number): number {
  const { native, u32 } = ov.sys;
  const code = native.statx(fd, '', AT_EMPTY_PATH, STATX_SIZE, STAT_B);
  const w = (STAT_B + STATX.size_) >> 2;
  return code < 0 ? code : Number(u32[w] === 0 && u32[w + 1] === 0);
}

function truncate(ov: Overlay, backings: Backings, node: number, kill: Ids | undefined): number {
  const fd = ov.file(node);
  if (fd < 0) return fd;
  const code = ov.sys.native.ftruncate(fd, 0, 0);
  if (code < 0 || !kill) return code;
  const mode = ov.table.mode(node);
  const killed = killSetIds(ov, node, kill.gid);
  // After an open the kernel asks for the size and times anew, but not for the mode.
  if (ov.table.mode(node) !== mode) backings.port.invalidate(node);
  return killed;
}

/** A shared mapping that is written through needs both. */
const mayMap = (flags: number): boolean =>
  (flags & O_ACCMODE) !== O_RDONLY && (flags & O_ACCMODE) !== O_WRONLY;

/**
 * Stores to a mapping change times and blocks behind the kernel's back (the mapping is the backing
 * file's, and outlives the descriptor): from now on it asks for the attributes each time.
 */
function askAlways(ov: Overlay, backings: Backings, node: number): void {
  if (ov.table.has(node, F_ASK)) return;
  ov.table.set(node, F_ASK);
  backings.port.invalidate(node);
}

/** Two inodes of the kernel show one object now: neither may remember attributes. */
function retire(ov: Overlay, backings: Backings, node: number): void {
  ov.dropFile(node);
  ov.table.set(node, F_ASK);
  ov.table.succeed(node);
  ov.retired++;
  backings.port.invalidate(node);
}

/** Those who have the node open read data that is not the node's any more. */
export const readsOldData = (ov: Overlay, node: number): boolean =>
  ov.table.has(node, F_RETIRED) || (ov.backings?.isStale(node) ?? false);
