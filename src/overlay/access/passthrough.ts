/**
 * Opens files in the passthrough plane: chooses the file of a layer that carries a node's reads and writes,
 * and handles a change of that file while it is open.
 *
 * The kernel sets two limits:
 * - It opens the registered file again for each open, with that open's flags. So a lower file is never
 *   registered for a node that is opened for writing: the open copies it up.
 * - All opens of a node share one backing file. Where readers still hold the lower file, the node is
 *   retired: a successor takes over its name, its object and all else, and the open is answered with ESTALE.
 *   The VFS then looks the name up again and opens the successor (do_filp_open).
 *
 * A retired node lives as long as its readers. Requests about it are answered from its successor.
 */
import { display } from '../../base/bytes.js';
import { E } from '../../base/errno.js';
import {
  O_ACCMODE,
  O_APPEND,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  STATX_SIZE,
} from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import { mountedOn, MOUNT_TYPE } from '../../sys/mountTable.js';
import {
  type Asker,
  hasSetIds,
  keepNoCapability,
  killSetIds,
  restoreMode,
  truncateLater,
} from './attr.js';
import { type Backings, KEPT, ONCE, STALE } from '../data/backings.js';
import { copyUp, copyUpMeta } from '../copyUp/copyUp.js';
import { CUT } from '../copyUp/source.js';
import { dataFile } from './files.js';
import { F_ASK, F_METACOPY, F_RETIRED, F_UPPER } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';
import { APPEND, IMMUTABLE, refused } from '../guard.js';

/** An open without a backing file: there is no data that one could carry. */
export const NO_BACKING = 0;

interface Open {
  /** O_* of the caller. */
  readonly flags: number;
  /** Truncating clears set-id bits: the caller has no CAP_FSETID. */
  readonly kill: Asker | undefined;
  /** The caller was answered ESTALE and came back without a name to look up. */
  readonly again: boolean;
}

/**
 * Opens a regular file: returns its backing id, which is held until `Backings.release`, NO_BACKING,
 * or -errno. ESTALE: the kernel must look the name up again. Where it cannot (`again`: a descriptor
 * opened by /proc/self/fd, a file that is itself a mount point), the node is opened as those have it
 * who have it open, for reading only when they have the lower file; when nobody has, it is its
 * successor's object.
 */
export function openFile(ov: Overlay, backings: Backings, node: number, open: Open): number {
  const { table } = ov;
  const { flags, again } = open;
  const retired = table.has(node, F_RETIRED);
  if (retired && !again) return -E.ESTALE;
  const truncates = (flags & O_TRUNC) !== 0;
  const writes = truncates || (flags & O_ACCMODE) !== O_RDONLY;
  const object = table.current(node);
  const refusal = writes ? refusedOpen(ov, object, flags) : 0;
  if (refusal < 0) return refusal;
  // Who waited for the copy takes it before looking at those who have opened the lower file meanwhile.
  if (writes && ov.bulk.of(object)?.result !== undefined) {
    const up = copyUp(ov, object);
    if (up < 0) return up;
  }
  if (backings.isOpen(node) && (backings.isStale(node) || (writes && isLower(ov, object)))) {
    if (again && !writes) return backings.hold(node);
    // No name leads to a successor of what has none.
    if (retired || ov.isGone(node)) return -E.ESTALE;
    // With the name, the VFS would take away what is mounted on it (d_invalidate), in every namespace.
    if (isMountPoint(ov, node)) return -E.EBUSY;
    retire(ov, backings, node);
    return -E.ESTALE;
  }
  const mode = table.mode(object);
  const cut = writes ? makeWritable(ov, backings, object, open) : 0;
  if (cut < 0) restoreMode(ov, object, mode);
  if (cut < 0) return cut;
  const id = register(ov, backings, node);
  // Truncated by the copy-up, so it is open: what is read and written comes here.
  if (id <= 0) return cut === CUT ? NO_BACKING : id;
  if (truncates && cut !== CUT) {
    const code = truncate(ov, object);
    if (code < 0) return code;
  }
  if (mayMap(flags)) askAlways(ov, backings, object);
  return backings.hold(node);
}

/**
 * The copy-up of a file that is opened for writing. Writes do not come here that could take set-id bits
 * and capabilities away. Returns 0, CUT when it is truncated by that, or -errno.
 */
function makeWritable(ov: Overlay, backings: Backings, node: number, open: Open): number {
  if ((open.flags & O_TRUNC) === 0) {
    const code = copyUp(ov, node);
    return code < 0 ? code : keepNoCapability(ov, node);
  }
  const kill = hasSetIds(ov, node) ? open.kill : undefined;
  let code = kill || ov.overrides ? copyUpMeta(ov, node) : 0;
  if (code >= 0 && kill) {
    code = killSetIds(ov, node, kill);
    // After an open the kernel asks for the size and times anew, but not for the mode.
    backings.port.invalidate(node);
  }
  if (code >= 0 && ov.overrides) code = keepNoCapability(ov, node);
  return code < 0 ? code : copyUp(ov, node, 0);
}

/** What is immutable is not opened for writing, what is append-only for that alone (may_open). */
function refusedOpen(ov: Overlay, node: number, flags: number): number {
  const appends = (flags & (O_APPEND | O_TRUNC)) === O_APPEND;
  return refused(ov, node, appends ? IMMUTABLE : APPEND | IMMUTABLE);
}

/** Something may be mounted on a name of the node, here or in another namespace. */
function isMountPoint({ table }: Overlay, node: number): boolean {
  const found = mountedOn(MOUNT_TYPE);
  if (found.size === 0) return false;
  if (
    !found.has(table.name(node)) &&
    !table.hasOtherName(node, table.parent(node), table.name(node))
  )
    return false;
  log(
    `${display(table.name(node))} is not opened: others read its lower file, and something is mounted on it`,
  );
  return true;
}

/** The data is a lower file's. */
const isLower = (ov: Overlay, node: number): boolean =>
  !ov.table.has(node, F_UPPER) || ov.table.has(node, F_METACOPY);

/** Opens a file just made, which is there whatever fails now: without a backing its data comes by requests. */
export function openNew(ov: Overlay, backings: Backings, node: number, flags: number): number {
  const id = register(ov, backings, node);
  if (id < 0) return NO_BACKING;
  if (mayMap(flags)) ov.table.set(node, F_ASK);
  return backings.hold(node);
}

/**
 * The node's id, made when it has none. An empty lower file gets none: read by requests its readers
 * do not stand in the way of a backing file, so the node need not be retired when it is written.
 * Lock files are empty, and the locks on a node do not follow to its successor.
 */
function register(ov: Overlay, backings: Backings, node: number): number {
  const known = backings.get(node);
  if (known !== 0) return known;
  const object = ov.table.current(node);
  const fd = ov.openPath(object);
  if (fd < 0) return fd;
  const empty = ov.table.has(object, F_UPPER) ? 0 : isEmpty(ov, fd);
  let id = empty;
  // A later move of the object's data would not reach what is registered for its predecessor.
  if (empty === 0)
    id = backings.add(node, fd, object === node ? KEPT : isLower(ov, object) ? STALE : ONCE);
  ov.sys.native.close(fd);
  return empty > 0 ? NO_BACKING : id;
}

/** 1, 0 or -errno. */
function isEmpty(ov: Overlay, fd: number): number {
  const { probe } = ov.sys.stats;
  const code = ov.sys.statFd(fd, probe, STATX_SIZE);
  return code < 0 ? code : Number(probe.size === 0);
}

/** Deciding: nothing after it fails the open. */
function truncate(ov: Overlay, node: number): number {
  const done = ov.truncations.take(node);
  if (done !== undefined) return done;
  const fd = dataFile(ov, node);
  if (fd < 0) return fd;
  const later = truncateLater(ov, node, fd, { sizeLo: 0, sizeHi: 0 }, false);
  return later ?? ov.sys.native.ftruncate(fd, 0, 0);
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
  ov.bare.drop(node);
  ov.table.set(node, F_ASK);
  ov.table.succeed(node);
  ov.retired++;
  ov.bulk.moved(node, ov.table.current(node));
  backings.moved(node);
  backings.port.invalidate(node);
}

/** Those who have the node open may read data that is not its object's any more. */
export const readsOldData = (ov: Overlay, node: number): boolean =>
  ov.backings?.isStale(node) ?? false;
