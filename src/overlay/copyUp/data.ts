/** Copies the data of a copy-up: small data at once, large data in the I/O pool (data/bulk.ts). */
import { PARKED } from '../../base/errno.js';
import { noXattr } from '../../layer/absence.js';
import { CAPABILITY } from '../../layer/xattrs.js';
import {
  AT_SYMLINK_NOFOLLOW,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  RESOLVE_LAYER,
} from '../../sys/constants.js';
import { savedSize, type Stat } from '../../sys/stat.js';
import { type Sys, XATTR, XATTR_MAX } from '../../sys/sys.js';
import { BULK_LEAST, type BulkCopy, punch } from '../data/bulk.js';
import { touch } from './attrs.js';
import { CUT, cutsTo, METADATA, type Source } from './source.js';
import type { Overlay } from '../overlay.js';
import { setTimes } from '../../sys/times.js';

/** The copy of a file in the workdir: with its data, or, to describe it, with its size alone. */
export function makeFile(
  ov: Overlay,
  node: number,
  from: Source,
  work: number,
  temp: string,
): number {
  const { native } = ov.sys;
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  const out = ov.sys.open(work, temp, flags, 0o600, RESOLVE_LAYER);
  if (out < 0) return out;
  const code =
    from.limit === METADATA
      ? native.ftruncate(out, from.stat.sizeLo, from.stat.sizeHi)
      : copyData(ov, node, out, extentOf(from.stat, from.limit));
  native.close(out);
  return code;
}

/**
 * Large data, copied to a file in the workdir and synced. PARKED while
 * the pool is at it; undefined when it is to be copied here. What is done to the file afterwards
 * (owner, xattrs, times) needs no sync of its own: the rename that publishes it comes later in the
 * upper's journal (ovl_copy_up_file syncs only here, too).
 */
export function bulkData(
  ov: Overlay,
  node: number,
  from: Source,
  work: number,
): BulkCopy | number | undefined {
  const { bulk, sys } = ov;
  const { size, words } = extentOf(from.stat, from.limit);
  if (size < BULK_LEAST || !bulk.pool) return undefined;
  const ready = bulk.take(node, size);
  if (ready?.result !== undefined) {
    if (ready.result < 0) return ready.result;
    ov.copiedBytes += ready.size;
    return ready;
  }
  const temp = ov.work?.tempName() ?? '';
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  const fdOut = sys.open(work, temp, flags, 0o600, RESOLVE_LAYER);
  if (fdOut < 0) return fdOut;
  const fdIn = ov.openFile(node, O_RDONLY);
  const code = fdIn < 0 ? fdIn : bulk.start(node, { fdIn, fdOut, size, words, temp }, ov.durable);
  if (code === PARKED) return code;
  if (fdIn >= 0) sys.native.close(fdIn);
  sys.native.close(fdOut);
  sys.native.unlinkat(work, temp, 0);
  return code < 0 ? code : undefined;
}

type Extent = Pick<BulkCopy, 'size' | 'words'>;

/**
 * How much is copied: a number that is near enough to compare, and exactly, in words: sparse
 * files may have more than 2^53 bytes.
 */
function extentOf(source: Stat, limit: number): Extent {
  const { size, sizeLo, sizeHi } = source;
  // A limit that is not exact is none: the truncation that follows is.
  if (limit >= size || limit > Number.MAX_SAFE_INTEGER) {
    return { size, words: [sizeLo, sizeHi] };
  }
  return { size: limit, words: [limit >>> 0, Math.floor(limit / 0x1_0000_0000)] };
}

/**
 * A copy is synced for its data, which a crash must not take from a file that has its new name already.
 * An empty one, or one that is about to be truncated, has none, and the upper's journal keeps the rest in
 * order (ovl_copy_up_data does not sync it either).
 */
export const needsSync = (ov: Overlay, { stat, limit }: Pick<Source, 'stat' | 'limit'>): boolean =>
  ov.durable && extentOf(stat, limit).size > 0;

/** Copies a node's data to an empty file. */
function copyData(ov: Overlay, node: number, out: number, { size, words }: Extent): number {
  const { native } = ov.sys;
  if (size === 0) return 0;
  const data = ov.openFile(node, O_RDONLY);
  if (data < 0) return data;
  const code = native.copyData(data, out, words[0], words[1]);
  native.close(data);
  if (code >= 0) ov.copiedBytes += size;
  return code;
}

/** The same for the upper file of a metadata-only copy; the view `source` has its attributes. */
function copyInPlace(ov: Overlay, node: number, out: number, limit: number): number {
  const { native, stats } = ov.sys;
  const { source } = stats;
  const extent = extentOf(source, limit);
  const code = punch(ov.sys, out, source.sizeLo, source.sizeHi);
  if (code < 0) return code;
  // Without the mark the file is what it is: no zeros may stand where a truncation follows.
  return extent.size === 0 ? native.ftruncate(out, 0, 0) : copyData(ov, node, out, extent);
}

/**
 * A metadata-only copy gets its data (ovl_copy_up_meta_inode_data). Until the mark goes, which is
 * the commit, whatever the upper file holds does not count; its times and capabilities stay. Returns 0,
 * CUT, or -errno.
 */
export function copyUpData(ov: Overlay, node: number, limit: number): number {
  const { native, stats } = ov.sys;
  const { source } = stats;
  const code = ov.bulk.check(node) || ov.bulk.checkStray() || ov.stat(node, source);
  if (code < 0) return code;
  const dir = ov.realDir(node);
  const name = ov.realName(node);
  const capability = native.getxattr(dir, name, CAPABILITY, XATTR, XATTR_MAX);
  if (capability < 0 && !noXattr(capability)) return capability;
  const out = ov.sys.open(dir, name, O_WRONLY | O_NOFOLLOW, 0, RESOLVE_LAYER);
  if (out < 0) return out;
  // Capabilities would be gone while the pool writes, so such a file is copied here.
  const bulk = capability > 0 ? undefined : bulkInPlace(ov, node, out, limit);
  if (bulk === PARKED) return bulk;
  let done = bulk ?? copyInPlace(ov, node, out, limit);
  if (done >= 0 && bulk === undefined && needsSync(ov, { stat: source, limit }))
    done = native.fsync(out);
  const cuts = cutsTo(limit, source.size);
  const keep = (): number =>
    capability > 0 ? native.setxattr(dir, name, CAPABILITY, XATTR, capability, 0) : 0;
  // Writing takes the capabilities away; a truncation is to.
  if (done >= 0 && !cuts) done = keep();
  if (done >= 0) done = setTimes(ov.sys, source, dir, name, AT_SYMLINK_NOFOLLOW);
  if (done >= 0 && cuts) done = touch(ov, dir, name);
  // Deciding.
  if (done >= 0) done = native.removexattr(dir, name, `${ov.markPrefix}metacopy`);
  if (done < 0) {
    // The size shown is the upper file's: it must be what it was, and hold no half-copied data.
    punch(ov.sys, out, source.sizeLo, source.sizeHi);
    native.ftruncate(out, source.sizeLo, source.sizeHi);
    keep();
    setTimes(ov.sys, source, dir, name, AT_SYMLINK_NOFOLLOW);
  }
  native.close(out);
  if (done < 0) return done;
  ov.dataMoved(node);
  ov.dropLower(node);
  return cuts ? CUT : 0;
}

/**
 * As bulkData, for the upper file `out` (the pool's, after PARKED). Its size is what is shown, so it
 * keeps that until the data is there: then it is `limit`, as copyData leaves it.
 */
function bulkInPlace(ov: Overlay, node: number, out: number, limit: number): number | undefined {
  const { bulk, sys } = ov;
  const { source } = sys.stats;
  const { size, words } = extentOf(source, limit);
  if (size < BULK_LEAST || !bulk.pool) return undefined;
  const ready = bulk.take(node, size)?.result;
  if (ready !== undefined) {
    if (ready < 0) return ready;
    ov.copiedBytes += size;
    return sys.native.ftruncate(out, words[0], words[1]);
  }
  const fdIn = ov.openFile(node, O_RDONLY);
  if (fdIn < 0) return fdIn;
  const stat = source.save();
  let code = punch(sys, out, ...savedSize(stat));
  const what = { fdIn, fdOut: out, size, words, temp: '' };
  if (code >= 0) code = bulk.start(node, what, ov.durable, stat);
  if (code === PARKED) return code;
  sys.native.close(fdIn);
  return code < 0 ? code : undefined;
}

/** Syncs the data of a file in the workdir. */
export function syncFile(sys: Sys, work: number, temp: string): number {
  const { native } = sys;
  const fd = sys.open(work, temp, O_RDONLY | O_NOFOLLOW, 0, RESOLVE_LAYER);
  if (fd < 0) return fd;
  const code = native.fsync(fd);
  native.close(fd);
  return code;
}
