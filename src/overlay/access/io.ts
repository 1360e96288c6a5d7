/**
 * Reads and writes data of regular files. The session (native/session_io.cc) answers most READs and WRITEs
 * itself, on the node's descriptor; only the others come here.
 */
import { E, errnoName, LATER, PARKED } from '../../base/errno.js';
import { isDir } from '../../base/mode.js';
import { noXattr } from '../../layer/absence.js';
import { CAPABILITY } from '../../layer/xattrs.js';
import {
  FALLOC_FL_KEEP_SIZE,
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  O_DIRECTORY,
  O_RDONLY,
  RESOLVE_LAYER,
  SEEK_DATA,
} from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import { SMALL, XATTR } from '../../sys/sys.js';
import { BULK_LEAST } from '../data/bulk.js';
import { EXTENT_LEAST } from '../data/extent.js';
import { copyUp, copyUpMeta } from '../copyUp/copyUp.js';
import { dataFile } from './files.js';
import { appended, onlyAppends } from './appendOnly.js';
import { type Asker, keepNoCapability, killSetIds, killSetIdsFor } from './attr.js';
import { F_CAPABLE, F_METACOPY, F_UPPER } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';
import type { Offset, Span } from './span.js';
import { APPEND, FLAG_BITS, guardOf, IMMUTABLE, refused, setGuard, XFLAG_BITS } from '../guard.js';

/** Bytes one COPY_FILE_RANGE request copies at most: the caller comes again, others get their turn. */
const COPY_STEP = 64 << 20;

const WORD = 0x1_0000_0000;

/** Returns the bytes read or -errno. */
export function read(ov: Overlay, node: number, { at, size, lo, hi }: Span): number {
  if (lo === 0 && hi === 0) ov.readFromStart = node;
  const fd = dataFile(ov, node);
  const got = fd < 0 ? fd : ov.sys.native.pread(fd, at, size, lo, hi);
  if (got > 0) ov.bytesRead += got;
  return got;
}

/** The upper file's descriptor, after copy-up; -errno. */
function writable(ov: Overlay, node: number): number {
  let code = refused(ov, node, IMMUTABLE);
  if (code >= 0) code = copyUp(ov, node);
  if (code >= 0 && ov.overrides) code = keepNoCapability(ov, node);
  return code < 0 ? code : dataFile(ov, node);
}

/**
 * Returns the bytes written or -errno. `cached`: pages of the kernel's writeback cache, for which it
 * ignores a short count (fuse_writepage_end), so there the error that stopped the write is the answer.
 */
export function write(
  ov: Overlay,
  node: number,
  span: Span,
  kill: Asker | undefined,
  cached: boolean,
): number {
  const { size, lo, hi } = span;
  const fd = writable(ov, node);
  const skip = fd < 0 ? fd : appended(ov, node, fd, span);
  if (cached && skip === -E.EPERM) ov.flushes.drop(node, lo + hi * WORD, lo + hi * WORD + size);
  if (skip < 0 || skip === size) return skip;
  // First, as file_remove_privs: a file that was written to must not keep them.
  const killed = kill ? killSetIds(ov, node, kill) : 0;
  if (killed < 0) return killed;
  const capable = cached && ov.table.has(node, F_CAPABLE);
  const capability = capable ? ov.sys.xattr(fd, '', CAPABILITY) : -E.ENODATA;
  if (typeof capability === 'number' && !noXattr(capability)) return capability;
  ov.times?.hold(node, fd);
  let written = writeAfter(ov, fd, span, skip, cached);
  ov.times?.put(fd);
  if (written > 0) ov.bytesWritten += written;
  if (written >= 0) written += skip;
  if (written >= 0 && typeof capability === 'string') keepCapability(ov, fd, capability);
  return written;
}

/**
 * Pages that were changed before the capabilities were set: write(2) itself has asked the kernel to
 * take those of that time away (file_remove_privs), so the ones that are there now are to stay.
 */
function keepCapability(ov: Overlay, fd: number, value: string): void {
  const { native } = ov.sys;
  const code = native.setxattr(fd, '', CAPABILITY, XATTR, ov.sys.put(value, XATTR), 0);
  if (code < 0) log(`capabilities of a file that was written back are lost: ${errnoName(code)}`);
}

/** Writes what comes after the first `done` bytes. Returns how much that was, or -errno. */
function writeAfter(ov: Overlay, fd: number, span: Span, done: number, cached: boolean): number {
  let written = writeOnce(ov, fd, span, done);
  while (cached && written > 0 && done + written < span.size) {
    const more = writeOnce(ov, fd, span, done + written);
    if (more <= 0) return more === 0 ? -E.EIO : more;
    written += more;
  }
  return written;
}

function writeOnce(ov: Overlay, fd: number, { at, size, lo, hi }: Span, done: number): number {
  const carry = lo + done > 0xffff_ffff ? 1 : 0;
  return ov.sys.native.pwrite(fd, at + done, size - done, (lo + done) >>> 0, hi + carry);
}

export function fallocate(
  ov: Overlay,
  node: number,
  mode: number,
  { off, length }: { readonly off: Offset; readonly length: Offset },
  caller: Asker,
): number {
  // As vfs_fallocate.
  const guarded = (mode & ~FALLOC_FL_KEEP_SIZE) === 0 ? 0 : refused(ov, node, APPEND);
  const fd = guarded < 0 ? guarded : writable(ov, node);
  if (fd < 0) return fd;
  const killed = killSetIdsFor(ov, node, caller);
  if (killed < 0) return killed;
  const large = length[1] > 0 || length[0] >= EXTENT_LEAST;
  if (large && ov.bulk.pool?.allocate(node, fd, mode, off, length) === true) return LATER;
  ov.times?.hold(node, fd);
  const code = ov.sys.native.fallocate(fd, mode, off[0], off[1], length[0], length[1]);
  ov.times?.put(fd);
  return code;
}

/**
 * SEEK_DATA and SEEK_HOLE; the offset lands at `at`. What is about to be called a hole may be covered by
 * pages that the kernel has not written yet, so it writes those first; then the file is asked again.
 * write(2) cannot add any meanwhile: the kernel holds the inode's lock (fuse_file_llseek).
 */
export function lseek(
  ov: Overlay,
  node: number,
  [lo, hi]: Offset,
  whence: number,
  at: number,
): number {
  const fd = dataFile(ov, node);
  if (fd < 0) return fd;
  const { native } = ov.sys;
  const code = native.lseek(fd, lo, hi, whence, at);
  if (!ov.flushes.flush || (code < 0 && code !== -E.ENXIO)) return code;
  const asked = lo + hi * WORD;
  const found = code < 0 ? Infinity : ov.sys.u64(at);
  let flushed = 0;
  if (whence === SEEK_DATA) {
    if (found > asked) flushed = ov.flushes.clean(node, asked, found);
  } else {
    const hole = code < 0 ? asked : found;
    const next = native.lseek(fd, hole >>> 0, Math.floor(hole / WORD), SEEK_DATA, SMALL);
    flushed = ov.flushes.clean(node, hole, next < 0 ? Infinity : ov.sys.u64(SMALL));
  }
  if (flushed === 0) return code;
  // EINVAL: the caller takes the file for one without holes, and reads it.
  return flushed === PARKED ? PARKED : -E.EINVAL;
}

interface InFile {
  readonly node: number;
  readonly off: Offset;
}

/** Copies between two files of the mount; returns the bytes copied (maybe fewer than asked) or -errno. */
export function copyFileRange(
  ov: Overlay,
  { node: from, off: fromOff }: InFile,
  { node: to, off: toOff }: InFile,
  length: number,
  caller: Asker,
): number {
  const out = writable(ov, to);
  if (out < 0) return out;
  const appends = onlyAppends(ov, to, out, ...toOff);
  if (appends < 0) return appends;
  const input = dataFile(ov, from);
  if (input < 0) return input;
  const step = Math.min(length, COPY_STEP);
  const { native } = ov.sys;
  const { pool } = ov.bulk;
  const killed = killSetIdsFor(ov, to, caller);
  if (killed < 0) return killed;
  if (step >= BULK_LEAST && pool) {
    const later = pool.range({
      fdIn: input,
      inOff: fromOff,
      node: to,
      fdOut: out,
      outOff: toOff,
      size: step,
    });
    if (later) return LATER;
  }
  ov.times?.hold(to, out);
  const copied = native.copyFileRange(input, fromOff[0], fromOff[1], out, toOff[0], toOff[1], step);
  ov.times?.put(out);
  if (copied > 0) {
    ov.bytesRead += copied;
    ov.bytesWritten += copied;
  }
  return copied;
}

/**
 * fsync of a file or directory. What is only in a lower is on disk already, and must not be asked:
 * file systems that are never written to may have no fsync (squashfs answers EINVAL). Of a
 * metadata-only copy that goes for the data (ovl_fsync).
 */
export function fsync(ov: Overlay, node: number, dataOnly: boolean): number {
  const { table } = ov;
  if (!ov.durable || !table.has(node, F_UPPER)) return 0;
  if (isDir(table.mode(node))) return withDir(ov, node, (fd) => sync(ov, fd, dataOnly));
  if (table.has(node, F_METACOPY)) {
    return dataOnly ? 0 : withObject(ov, node, (fd) => sync(ov, fd, false));
  }
  const fd = dataFile(ov, node);
  return fd < 0 ? fd : sync(ov, fd, dataOnly);
}

function sync(ov: Overlay, fd: number, dataOnly: boolean): number {
  if (ov.bulk.pool?.sync(fd, dataOnly) === true) return LATER;
  return dataOnly ? ov.sys.native.fdatasync(fd) : ov.sys.native.fsync(fd);
}

/** Reads a file's flags (FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR) to `at`. 0 or -errno. */
export function getFlags(ov: Overlay, node: number, request: number, at: number): number {
  const code = realIoctl(ov, node, request, at);
  const guard = code < 0 || !ov.table.has(node, F_UPPER) ? code : guardOf(ov, node);
  if (guard < 0) return guard;
  const bits = request === FS_IOC_GETFLAGS ? FLAG_BITS : XFLAG_BITS;
  if ((guard & APPEND) !== 0) ov.sys.u32[at >> 2] |= bits.append;
  if ((guard & IMMUTABLE) !== 0) ov.sys.u32[at >> 2] |= bits.immutable;
  return 0;
}

/** Sets them to what is at `at`; the protecting ones by a mark (ovl_fileattr_set). 0 or -errno. */
export function setFlags(ov: Overlay, node: number, request: number, at: number): number {
  if (!ov.upper) return -E.EROFS;
  const { u32 } = ov.sys;
  const bits = request === FS_IOC_SETFLAGS ? FLAG_BITS : XFLAG_BITS;
  const wanted = u32[at >> 2];
  const guard =
    ((wanted & bits.append) === 0 ? 0 : APPEND) | ((wanted & bits.immutable) === 0 ? 0 : IMMUTABLE);
  // What was written before belongs in the file, also where it could not be written later.
  const clean = guard === 0 || isDir(ov.table.mode(node)) ? 0 : ov.flushes.clean(node, 0);
  if (clean < 0) return clean;
  const up = copyUpMeta(ov, node);
  if (up < 0) return up;
  u32[at >> 2] = wanted & ~(bits.append | bits.immutable);
  const before = guardOf(ov, node);
  if (before < 0) return before;
  // The mark first (ovl_fileattr_set): it can be taken back.
  const marked = setGuard(ov, node, guard);
  if (marked < 0) return marked;
  // Deciding.
  const code = realIoctl(ov, node, request, at);
  const undone = code < 0 ? setGuard(ov, node, before) : 0;
  if (undone < 0) log(`the mark of protected files cannot be taken back: ${errnoName(undone)}`);
  return code;
}

/** ioctl with a pointer to `at` on the real object. */
function realIoctl(ov: Overlay, node: number, request: number, at: number): number {
  const { native } = ov.sys;
  if (isDir(ov.table.mode(node))) return withDir(ov, node, (fd) => native.ioctl(fd, request, at));
  // Flags are metadata.
  return withObject(ov, node, (fd) => Math.min(native.ioctl(fd, request, at), 0));
}

/** With the file itself, which in a metadata-only copy is not the one that holds the data. */
function withObject(ov: Overlay, node: number, use: (fd: number) => number): number {
  const fd = ov.openObject(node, O_RDONLY);
  if (fd < 0) return fd;
  try {
    return use(fd);
  } finally {
    ov.sys.native.close(fd);
  }
}

function withDir(ov: Overlay, node: number, use: (fd: number) => number): number {
  const dir = ov.realDirOf(node);
  if (dir < 0) return dir;
  const { native } = ov.sys;
  const fd = ov.sys.open(dir, '.', O_RDONLY | O_DIRECTORY, 0, RESOLVE_LAYER);
  if (fd < 0) return fd;
  try {
    return use(fd);
  } finally {
    native.close(fd);
  }
}

/** statfs of the upper, or of the topmost lower: struct statfs lands at `at`, unless LATER. */
export function statfs(ov: Overlay, at: number): number {
  const [layer] = ov.upper ? [ov.upper] : ov.layers;
  if (ov.bulk.pool?.statfs(layer.root) === true) return LATER;
  return ov.sys.native.fstatfs(layer.root, at);
}
