/**
 * Copy-up: a lower object becomes an upper one at its first change. Plan (stat, parents), execute
 * (a complete copy in the workdir: data, owner, xattrs, mode, times; synced), commit (one rename
 * publishes it, then the inode table). A failure before the rename leaves nothing but a removed
 * temporary file. (fs/overlayfs/copy_up.c)
 */
import { E, PARKED } from '../base/errno.js';
import { isDir, isLnk, isReg, S_IFMT } from '../base/mode.js';
import { encodeOrigin } from '../layer/origin.js';
import type { Layer } from '../layer/layer.js';
import { isPrivate, mustCopy } from '../layer/xattrs.js';
import { STATX } from '../protocol/layout.js';
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  RENAME_NOREPLACE,
  RESOLVE_LAYER,
  STATX_BASIC_STATS,
  STATX_INO,
} from '../sys/constants.js';
import {
  DENTS,
  DENTS_SIZE,
  STAT_A,
  STAT_B,
  type Sys,
  XATTR,
  XATTR_LIST,
  XATTR_MAX,
} from '../sys/sys.js';
import { BULK_LEAST, type BulkCopy } from './bulk.js';
import { isForeign } from './foreign.js';
import { xinoHi } from './identity.js';
import {
  F_COVERED,
  F_IMPURE,
  F_LINKED,
  F_METACOPY,
  F_ORPHAN,
  F_UNLINKED,
  F_UPPER,
} from './inodeTable.js';
import { setUnion } from './linkIndex.js';
import { enterIndex, linkName } from './links.js';
import { dataStack } from './lookup.js';
import { orphanName, type Overlay } from './overlay.js';
import { addFlags, COPIED_FLAGS, flagsOf, guardIn, writeMark } from './protect.js';
import { setTimes } from './times.js';

const CAPABILITY = 'security.capability';

/** How much of a file is copied: all of it, so many bytes (a truncation follows), or only metadata. */
const ALL = Infinity;
const METADATA = -1;

/** Makes sure that `node` is an upper object with all its data; parents first. Returns 0 or -errno. */
export function copyUp(ov: Overlay, node: number, limit: number = ALL): number {
  const { table } = ov;
  if (!table.has(node, F_UPPER)) return raise(ov, node, limit);
  if (!table.has(node, F_METACOPY | F_COVERED)) return 0;
  const code = table.has(node, F_METACOPY) ? copyUpData(ov, node, limit) : 0;
  return code < 0 ? code : linkNames(ov, node);
}

/** Makes sure that `node` is an upper object whose metadata can change; its data may stay below. */
export function copyUpMeta(ov: Overlay, node: number): number {
  if (!ov.table.has(node, F_UPPER)) return raise(ov, node, ov.metacopies ? METADATA : ALL);
  const busy = ov.bulk.check(node);
  return busy < 0 ? busy : linkNames(ov, node);
}

function raise(ov: Overlay, node: number, limit: number): number {
  if (!ov.upper || !ov.work) return -E.EROFS;
  if (!ov.table.has(node, F_UNLINKED)) {
    const parents = copyUp(ov, ov.table.parent(node));
    if (parents < 0) return parents;
  }
  const code = copyUpOne(ov, node, limit);
  return code < 0 ? code : linkNames(ov, node);
}

/** Gives an indexed file its links at all names it is known by, so that a reader of the bare upper sees the change under each. */
function linkNames(ov: Overlay, node: number): number {
  const { table } = ov;
  if (!table.has(node, F_COVERED)) return 0;
  for (const { parent, name } of table.aliases(node)) {
    let code = copyUp(ov, parent);
    if (code >= 0) code = markImpure(ov, parent);
    if (code >= 0) code = linkName(ov, node, parent, name);
    if (code < 0) return code;
  }
  table.clear(node, F_COVERED);
  ov.dropFile(node);
  return 0;
}

/** What is copied: the lower object's descriptor and name; its statx is at STAT_A. */
interface Source {
  readonly dir: number;
  readonly name: string;
  readonly mode: number;
  /** A file of several names parts from the others: it gets no origin, and its own inode number. */
  readonly parts: boolean;
  /** A file of several names stays with the others: its name in the index, where it goes; else "". */
  readonly entry: string;
  /** Bytes of data to copy; METADATA: none, the copy only describes the file. */
  readonly limit: number;
}

function copyUpOne(ov: Overlay, node: number, limit: number): number {
  const busy = ov.bulk.check(node);
  if (busy < 0) return busy;
  const work = ov.workDir();
  const plan = planSource(ov, node, limit);
  if (typeof plan === 'number') return plan;
  const { native } = ov.sys;
  const copies = isReg(plan.mode) && plan.limit !== METADATA;
  const ready = copies ? bulkData(ov, node, plan, work) : undefined;
  if (typeof ready === 'number') return ready;
  const temp = ready?.temp ?? ov.work?.tempName() ?? '';
  let code = ready ? 0 : makeTemp(ov, node, plan, work, temp);
  if (code >= 0) code = decorate(ov, node, plan, work, temp);
  if (code >= 0 && ov.durable && copies && !ready) code = syncFile(ov.sys, work, temp);
  if (code >= 0) code = native.statx(work, temp, AT_SYMLINK_NOFOLLOW, STATX_INO, STAT_B);
  if (code >= 0) code = publish(ov, node, plan, work, temp);
  if (code < 0) {
    discard(ov.sys, work, temp);
    return code;
  }
  commit(ov, node, plan);
  return 0;
}

function planSource(ov: Overlay, node: number, limit: number): Source | number {
  const code = ov.stat(node, STAT_A);
  if (code < 0) return code;
  if (isForeign(ov, node, STAT_A)) return -E.EOVERFLOW;
  const mode = ov.sys.statMode(STAT_A);
  if (isDir(mode)) {
    return { dir: ov.realDirOf(node), name: '.', mode, parts: false, entry: '', limit: ALL };
  }
  const [dir, name] = [ov.realDir(node), ov.realName(node)];
  const linked = ov.sys.u32[(STAT_A + STATX.nlink) >> 2] > 1;
  const entry = ov.table.has(node, F_LINKED) ? entryOf(ov, node, dir, name) : '';
  if (typeof entry === 'number') return entry;
  const empty = ov.sys.u64(STAT_A + STATX.size_) === 0;
  const wanted = limit === METADATA && (!isReg(mode) || empty) ? ALL : limit;
  return { dir, name, mode, parts: linked && entry === '', entry, limit: wanted };
}

/** The name in the index of a lower file; -errno when there can be none. */
function entryOf(ov: Overlay, node: number, dir: number, name: string): string | number {
  const begun = ov.links?.begin() ?? -E.EIO;
  if (begun < 0) return begun;
  return ov.links?.nameOf(lowerLayer(ov, node), dir, name) || -E.EIO;
}

/** The layer of a node's topmost lower. */
function lowerLayer(ov: Overlay, node: number): Layer {
  const { lowers, table } = ov;
  const lower = table.lower(node);
  const stacked = isDir(table.mode(node)) || table.has(node, F_METACOPY);
  return ov.layer(lowers.layerOf(stacked ? lowers.place(lower, 0) : lower));
}

function makeTemp(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { native, u32 } = ov.sys;
  if (isReg(from.mode)) return makeFile(ov, node, from, work, temp);
  if (isDir(from.mode)) return native.mkdirat(work, temp, 0o700);
  if (isLnk(from.mode)) {
    const length = native.readlinkat(from.dir, from.name, DENTS, DENTS_SIZE);
    return length < 0 ? length : native.symlinkat(ov.sys.text(DENTS, length), work, temp);
  }
  const w = STAT_A >> 2;
  const major = u32[w + STATX.rdev_major / 4];
  const minor = u32[w + STATX.rdev_minor / 4];
  const mode = ov.overrides?.diskMode(from.mode) ?? from.mode & S_IFMT;
  return native.mknodat(work, temp, mode, major, minor);
}

function makeFile(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { native, u32 } = ov.sys;
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  const out = ov.sys.open(work, temp, flags, 0o600, RESOLVE_LAYER);
  if (out < 0) return out;
  const w = (STAT_A + STATX.size_) >> 2;
  const code =
    from.limit === METADATA
      ? native.ftruncate(out, u32[w], u32[w + 1])
      : copyData(ov, node, out, from.limit);
  native.close(out);
  return code;
}

/**
 * Large data, copied to a file in the workdir and synced; the node's statx is at STAT_A. PARKED while
 * the pool is at it; undefined when it is to be copied here. What is done to the file afterwards
 * (owner, xattrs, times) needs no sync of its own: the rename that publishes it comes later in the
 * upper's journal (ovl_copy_up_file syncs only here, too).
 */
function bulkData(
  ov: Overlay,
  node: number,
  from: Source,
  work: number,
): BulkCopy | number | undefined {
  const { bulk, sys } = ov;
  const { size, words } = extentOf(ov, from.limit);
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

/** How much is copied: a number that is near enough to compare, and exactly, in words: sparse files may have more than 2^53 bytes. */
function extentOf(ov: Overlay, limit: number): Pick<BulkCopy, 'size' | 'words'> {
  const { sys } = ov;
  const w = (STAT_A + STATX.size_) >> 2;
  const size = sys.u64(STAT_A + STATX.size_);
  // A limit that is not exact is none: the truncation that follows is.
  if (limit >= size || limit > Number.MAX_SAFE_INTEGER) {
    return { size, words: [sys.u32[w], sys.u32[w + 1]] };
  }
  return { size: limit, words: [limit >>> 0, Math.floor(limit / 0x1_0000_0000)] };
}

/** Copies a node's data to an empty file; the node's statx is at STAT_A. */
function copyData(ov: Overlay, node: number, out: number, limit: number): number {
  const { native } = ov.sys;
  const { size, words } = extentOf(ov, limit);
  if (size === 0) return 0;
  const data = ov.openFile(node, O_RDONLY);
  if (data < 0) return data;
  const code = native.copyData(data, out, words[0], words[1]);
  native.close(data);
  if (code >= 0) ov.copiedBytes += size;
  return code;
}

/**
 * A metadata-only copy gets its data (ovl_copy_up_meta_inode_data). Until the mark goes, which is
 * the commit, whatever the upper file holds does not count; its times and capabilities stay.
 */
function copyUpData(ov: Overlay, node: number, limit: number): number {
  const { native, u32 } = ov.sys;
  const code = ov.bulk.check(node) || ov.bulk.checkStray() || ov.stat(node, STAT_A);
  if (code < 0) return code;
  const dir = ov.realDir(node);
  const name = ov.realName(node);
  const out = ov.sys.open(dir, name, O_WRONLY | O_NOFOLLOW, 0, RESOLVE_LAYER);
  if (out < 0) return out;
  const capability = native.getxattr(dir, name, CAPABILITY, XATTR, XATTR_MAX);
  // Capabilities would be gone while the pool writes, so such a file is copied here.
  const bulk = capability > 0 ? undefined : bulkInPlace(ov, node, out, limit);
  if (bulk === PARKED) return bulk;
  let done = bulk ?? native.ftruncate(out, 0, 0);
  if (done >= 0 && bulk === undefined) done = copyData(ov, node, out, limit);
  if (done >= 0 && bulk === undefined && ov.durable) done = native.fsync(out);
  if (done >= 0 && capability > 0)
    done = native.setxattr(dir, name, CAPABILITY, XATTR, capability, 0);
  if (done >= 0) done = native.removexattr(dir, name, `${ov.markPrefix}metacopy`);
  if (done < 0) {
    // The size shown is the upper file's: it must be what it was, and hold no half-copied data.
    const w = (STAT_A + STATX.size_) >> 2;
    native.ftruncate(out, 0, 0);
    native.ftruncate(out, u32[w], u32[w + 1]);
  }
  native.close(out);
  const timed = setTimes(ov.sys, STAT_A, dir, name, AT_SYMLINK_NOFOLLOW);
  if (done < 0 || timed < 0) return Math.min(done, timed);
  ov.dataMoved(node);
  ov.dropLower(node);
  return 0;
}

/**
 * As bulkData, for the upper file `out` (the pool's, after PARKED). Its size is what is shown, so it
 * keeps that until the data is there: then it is `limit`, as copyData leaves it.
 */
function bulkInPlace(ov: Overlay, node: number, out: number, limit: number): number | undefined {
  const { bulk, sys } = ov;
  const { size, words } = extentOf(ov, limit);
  if (size < BULK_LEAST || !bulk.pool) return undefined;
  const ready = bulk.take(node, size)?.result;
  if (ready !== undefined) {
    if (ready < 0) return ready;
    ov.copiedBytes += size;
    return sys.native.ftruncate(out, words[0], words[1]);
  }
  const fdIn = ov.openFile(node, O_RDONLY);
  if (fdIn < 0) return fdIn;
  const w = STAT_A >> 2;
  const stat = sys.u32.slice(w, w + STATX.size / 4);
  let code = sys.native.ftruncate(out, 0, 0);
  if (code >= 0) {
    code = sys.native.ftruncate(out, stat[STATX.size_ >> 2], stat[(STATX.size_ >> 2) + 1]);
  }
  const what = { fdIn, fdOut: out, size, words, temp: '' };
  if (code >= 0) code = bulk.start(node, what, ov.durable, stat);
  if (code === PARKED) return code;
  sys.native.close(fdIn);
  return code < 0 ? code : undefined;
}

/** Owner, xattrs, mode and times, in the order in which none undoes another (chown drops capabilities and set-id bits). */
function decorate(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { native, u32 } = ov.sys;
  const w = STAT_A >> 2;
  const uid = u32[w + STATX.uid / 4];
  const gid = u32[w + STATX.gid / 4];
  const { overrides } = ov;
  let code = overrides
    ? overrides.keep(work, temp, overrides.shown(STAT_A))
    : native.fchownat(work, temp, uid, gid, AT_SYMLINK_NOFOLLOW);
  if (code >= 0) code = copyXattrs(ov, node, from, work, temp);
  if (code >= 0) code = keepFlags(ov, from, work, temp);
  if (code >= 0 && !from.parts) code = writeOrigin(ov, node, from, work, temp);
  if (code >= 0 && from.entry !== '') {
    code = setUnion(ov.sys, work, temp, 'U', u32[w + STATX.nlink / 4], 1);
  }
  if (code >= 0 && from.limit === METADATA) {
    code = native.setxattr(work, temp, `${ov.markPrefix}metacopy`, XATTR, 0, 0);
  }
  if (code >= 0 && !isLnk(from.mode) && !overrides) {
    code = native.fchmodat(work, temp, from.mode & 0o7777);
  }
  return code < 0 ? code : setTimes(ov.sys, STAT_A, work, temp, AT_SYMLINK_NOFOLLOW);
}

function copyXattrs(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { sys } = ov;
  const { native } = sys;
  const bytes = native.listxattr(from.dir, from.name, XATTR_LIST, XATTR_MAX);
  // EOPNOTSUPP: the layer's file system has no xattrs, so there are none to copy.
  if (bytes <= 0) return bytes === -E.EOPNOTSUPP ? 0 : bytes;
  for (const key of sys.text(XATTR_LIST, bytes - 1).split('\0')) {
    const copied = isPrivate(key, ov.markPrefix) ? undefined : nameOfCopy(ov, node, key);
    if (copied === undefined) continue;
    const size = native.getxattr(from.dir, from.name, key, XATTR, XATTR_MAX);
    if (size === -E.ENODATA) continue; // listed, but not ours to read (security modules)
    if (key === CAPABILITY && size === -E.EINVAL) continue; // gives none (ovl_no_fscap)
    const code = size < 0 ? size : native.setxattr(work, temp, copied, XATTR, size, 0);
    if (code >= 0 || (code === -E.EOPNOTSUPP && !mustCopy(key))) continue;
    return code;
  }
  return 0;
}

/** What a lower's xattr is called in the upper; undefined for one that stays below. */
function nameOfCopy(ov: Overlay, node: number, key: string): string | undefined {
  const { overrides } = ov;
  if (!overrides) return key;
  // An ACL would act on the disk's modes, and is not shown.
  if (key.startsWith('system.posix_acl_')) return undefined;
  const shown = overrides.toClient(ov.objectLayer(node), key);
  const stored = shown === undefined ? undefined : overrides.toDisk(ov.upper?.id ?? 0, shown);
  return typeof stored === 'string' ? stored : undefined;
}

/** The flags of chattr(1) (ovl_copy_fileattr). */
function keepFlags(ov: Overlay, from: Source, work: number, temp: string): number {
  if (!isReg(from.mode) && !isDir(from.mode)) return 0;
  const { sys } = ov;
  const how = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
  const source = sys.open(from.dir, from.name, how, 0, RESOLVE_LAYER);
  // Its metadata can be copied without the right to read it.
  if (source < 0) return source === -E.EACCES ? 0 : source;
  const flags = flagsOf(sys, source);
  sys.native.close(source);
  if (flags <= 0) return flags;
  const guard = guardIn(flags);
  const marked = guard === 0 ? 0 : writeMark(ov, work, temp, guard);
  if (marked < 0 || (flags & COPIED_FLAGS) === 0) return marked;
  const to = sys.open(work, temp, how, 0, RESOLVE_LAYER);
  if (to < 0) return to;
  const code = addFlags(sys, to, flags);
  sys.native.close(to);
  return code;
}

function writeOrigin(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { sys } = ov;
  const length = encodeOrigin(sys, lowerLayer(ov, node), from.dir, from.name);
  if (length === 0) return 0;
  const code = sys.native.setxattr(work, temp, `${ov.markPrefix}origin`, XATTR, length, 0);
  // user.* xattrs do not exist on symlinks and devices: such a copy has no origin.
  return code === -E.EPERM || code === -E.EOPNOTSUPP ? 0 : code;
}

/** Syncs the data of a file in the workdir. */
function syncFile(sys: Sys, work: number, temp: string): number {
  const { native } = sys;
  const fd = sys.open(work, temp, O_RDONLY | O_NOFOLLOW, 0, RESOLVE_LAYER);
  if (fd < 0) return fd;
  const code = native.fsync(fd);
  native.close(fd);
  return code;
}

/** The rename that makes the copy the object; the parent keeps its times (ovl_copy_up_one). */
function publish(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { native } = ov.sys;
  const { table } = ov;
  if (table.has(node, F_UNLINKED)) {
    return native.renameat2(work, temp, work, orphanName(node), RENAME_NOREPLACE);
  }
  if (from.entry !== '') {
    return native.renameat2(work, temp, ov.links?.dir ?? -1, from.entry, RENAME_NOREPLACE);
  }
  const parent = table.parent(node);
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const marked = markImpure(ov, parent);
  if (marked < 0) return marked;
  const ino = [ov.sys.u32[(STAT_B + STATX.ino) >> 2], ov.sys.u32[((STAT_B + STATX.ino) >> 2) + 1]];
  const known = native.statx(dir, '', AT_EMPTY_PATH, STATX_BASIC_STATS, STAT_B);
  if (known < 0) return known;
  const moved = native.renameat2(work, temp, dir, table.name(node), RENAME_NOREPLACE);
  if (moved < 0) return moved;
  setTimes(ov.sys, STAT_B, dir, '', AT_EMPTY_PATH); // best effort, as the kernel's
  ov.sys.u32[(STAT_B + STATX.ino) >> 2] = ino[0];
  ov.sys.u32[((STAT_B + STATX.ino) >> 2) + 1] = ino[1];
  return 0;
}

/** Marks an upper directory as one whose entries may have an origin (ovl_set_impure). */
export function markImpure(ov: Overlay, node: number): number {
  const { table } = ov;
  if (table.has(node, F_IMPURE)) return 0;
  const dir = ov.upperDir(node);
  if (dir < 0) return dir;
  ov.sys.put('y', XATTR);
  const code = ov.sys.native.setxattr(dir, '.', `${ov.markPrefix}impure`, XATTR, 1, 0);
  if (code < 0) return code;
  table.set(node, F_IMPURE);
  return 0;
}

/** The inode number of the new upper object is at STAT_B. */
function commit(ov: Overlay, node: number, from: Source): void {
  const { table } = ov;
  ov.copyUps++;
  table.set(node, F_UPPER);
  if (table.has(node, F_UNLINKED)) table.set(node, F_ORPHAN);
  if (!isDir(from.mode)) commitFile(ov, node, from);
  if (table.has(node, F_UNLINKED)) return;
  if (from.entry !== '') {
    enterIndex(ov, node, from.entry);
    table.set(node, F_COVERED);
    return;
  }
  const index = ov.indexes.get(table.parent(node));
  index?.copiedUp(table.name(node), table.inoLo(node), table.inoHi(node));
}

function commitFile(ov: Overlay, node: number, from: Source): void {
  const { sys, table, upper } = ov;
  const w = (STAT_B + STATX.ino) >> 2;
  table.setKey(node, upper?.id ?? 0, sys.u32[w], sys.u32[w + 1]);
  if (from.parts) table.setIno(node, sys.u32[w], xinoHi(ov, upper?.id ?? 0, sys.u32[w + 1]));
  if (from.limit === METADATA) {
    ov.dropFile(node);
    keepData(ov, node, from);
  } else {
    ov.dataMoved(node);
    ov.dropLower(node);
  }
}

/** The node's lower is now only where its data is. */
function keepData(ov: Overlay, node: number, from: Source): void {
  const { lowers, table } = ov;
  let stack: number;
  if (table.has(node, F_METACOPY)) {
    const place = ov.dataPlace(node);
    lowers.hold(place);
    stack = lowers.addStack([place]);
  } else {
    stack = dataStack(ov, { parent: table.lower(node), name: from.name }, 0);
  }
  ov.replaceLower(node, stack);
  table.set(node, F_METACOPY);
}

function discard(sys: Sys, work: number, temp: string): void {
  // ENOENT: it was never made. A directory is still empty.
  if (sys.native.unlinkat(work, temp, 0) === -E.EISDIR) sys.native.unlinkat(work, temp, 0x200);
}
