/**
 * Copy-up: the first change of a lower object makes an upper object of it (fs/overlayfs/copy_up.c).
 * 1. plan: stat the object, copy up its parents;
 * 2. execute: make a complete copy in the workdir (data, owner, xattrs, mode, times) and sync it;
 * 3. commit: one rename publishes it, then the inode table changes.
 * A failure before the rename removes the temporary file and leaves nothing else.
 */
import { E } from '../../base/errno.js';
import { isDir, isLnk, isReg, S_IFMT } from '../../base/mode.js';
import { isDeviceWhiteout, NESTED_MINOR } from '../../layer/whiteout.js';
import { noXattr } from '../../layer/absence.js';
import { AT_EMPTY_PATH, STATX_INO } from '../../sys/constants.js';
import { SPOILS, spoil, type Stats } from '../../sys/stat.js';
import { DENTS, DENTS_SIZE, type Sys, XATTR } from '../../sys/sys.js';
import { decorate } from './attrs.js';
import { bulkData, copyUpData, makeFile, needsSync, syncFile } from './data.js';
import { ALL, CUT, METADATA, planSource, type Source } from './source.js';
import { xinoHi } from '../lookup/identity.js';
import {
  F_COVERED,
  F_IMPURE,
  F_LINKED,
  F_METACOPY,
  F_ORPHAN,
  F_UNLINKED,
  F_UPPER,
} from '../inodes/record.js';
import { enterIndex, linkName } from '../lookup/hardLinks.js';
import { dataStack } from '../lookup/lookup.js';
import { orphanName, type Overlay } from '../overlay.js';
import { setTimes } from '../../sys/times.js';

/** What a copy-up may overwrite. */
function spoilViews({ source, copy, parent, entry, origin, probe }: Stats): void {
  spoil(source, copy, parent, entry, origin, probe);
}

/**
 * Makes sure that `node` is an upper object with all its data, or, with a limit, so many bytes of it,
 * which is a truncation; parents first. Returns 0, CUT when it was truncated so, or -errno.
 */
export function copyUp(ov: Overlay, node: number, limit: number = ALL): number {
  const { table } = ov;
  if (SPOILS) spoilViews(ov.sys.stats);
  if (!table.has(node, F_UPPER)) return raise(ov, node, limit);
  if (!table.has(node, F_METACOPY | F_COVERED)) return 0;
  // The names first: after the data comes, a truncation may be done.
  const linked = linkNames(ov, node);
  if (linked < 0) return linked;
  return table.has(node, F_METACOPY) ? copyUpData(ov, node, limit) : 0;
}

/** Makes sure that `node` is an upper object whose metadata can change; its data may stay below. */
export function copyUpMeta(ov: Overlay, node: number): number {
  if (SPOILS) spoilViews(ov.sys.stats);
  if (!ov.table.has(node, F_UPPER)) return raise(ov, node, ov.metacopies ? METADATA : ALL);
  const busy = ov.bulk.check(node);
  return busy < 0 ? busy : linkNames(ov, node);
}

function raise(ov: Overlay, node: number, limit: number): number {
  if (!ov.upper || !ov.work) return -E.EROFS;
  // There may be more directories above it than descriptors.
  const mark = ov.borrowing();
  const code = raiseWithParents(ov, node, limit);
  ov.giveBack(mark);
  return code;
}

function raiseWithParents(ov: Overlay, node: number, limit: number): number {
  if (!ov.table.has(node, F_UNLINKED)) {
    const parents = copyUp(ov, ov.table.parent(node));
    if (parents < 0) return parents;
  }
  if (!ov.table.has(node, F_LINKED)) return copyUpOne(ov, node, limit);
  if (limit === METADATA || limit === ALL) {
    const code = copyUpOne(ov, node, limit);
    return code < 0 ? code : linkNames(ov, node);
  }
  // All names of a file lead to its copy at once, so it is cut only when nothing can fail after that.
  const code = copyUpOne(ov, node, ov.metacopies ? METADATA : ALL);
  return code < 0 ? code : copyUp(ov, node, limit);
}

/**
 * Gives an indexed file its links at all names it is known by, so that a reader of the bare upper
 * sees the change under each.
 */
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

function copyUpOne(ov: Overlay, node: number, limit: number): number {
  const busy = ov.bulk.check(node);
  if (busy < 0) return busy;
  const work = ov.workDir();
  const plan = planSource(ov, node, limit);
  if (typeof plan === 'number') return plan;
  const copies = isReg(plan.mode) && plan.limit !== METADATA;
  const ready = copies ? bulkData(ov, node, plan, work) : undefined;
  if (typeof ready === 'number') return ready;
  const temp = ready?.temp ?? ov.work?.tempName() ?? '';
  let code = ready ? 0 : makeTemp(ov, node, plan, work, temp);
  if (code >= 0) code = decorate(ov, node, plan, work, temp);
  if (code >= 0 && copies && !ready && needsSync(ov, plan)) code = syncFile(ov.sys, work, temp);
  if (code >= 0) code = ov.sys.statName(work, temp, ov.sys.stats.copy, STATX_INO);
  if (code >= 0) code = publish(ov, node, plan, work, temp);
  if (code < 0) {
    discard(ov.sys, work, temp);
    return code;
  }
  commit(ov, node, plan);
  return plan.cuts ? CUT : 0;
}

function makeTemp(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { native } = ov.sys;
  if (isReg(from.mode)) return makeFile(ov, node, from, work, temp);
  if (isDir(from.mode)) return native.mkdirat(work, temp, 0o700);
  if (isLnk(from.mode)) {
    const length = native.readlinkat(from.dir, from.name, DENTS, DENTS_SIZE);
    return length < 0 ? length : native.symlinkat(ov.sys.text(DENTS, length), work, temp);
  }
  const { rdevMajor, rdevMinor } = from.stat;
  // A 0:0 device that is shown is a client's whiteout, whose mark comes along.
  const nested = isDeviceWhiteout(from.stat);
  if (nested && ov.overrides) return -E.EPERM;
  const minor = nested ? NESTED_MINOR : rdevMinor;
  const mode = ov.overrides?.diskMode(from.mode) ?? from.mode & S_IFMT;
  return native.mknodat(work, temp, mode, rdevMajor, minor);
}

/** The rename that makes the copy the object, which decides; the parent keeps its times (ovl_copy_up_one). */
function publish(ov: Overlay, node: number, from: Source, work: number, temp: string): number {
  const { table } = ov;
  if (table.has(node, F_UNLINKED)) {
    return ov.sys.renameNew(work, temp, work, orphanName(node));
  }
  if (from.entry !== '') {
    return ov.sys.renameNew(work, temp, ov.links?.dir ?? -1, from.entry);
  }
  const parent = table.parent(node);
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const marked = markImpure(ov, parent);
  if (marked < 0) return marked;
  const stat = ov.sys.stats.parent;
  const known = ov.sys.statFd(dir, stat);
  if (known < 0) return known;
  const moved = ov.sys.renameNew(work, temp, dir, table.name(node));
  if (moved < 0) return moved;
  setTimes(ov.sys, stat, dir, '', AT_EMPTY_PATH); // best effort, as the kernel's
  return 0;
}

/** Marks an upper directory as one whose entries may have an origin (ovl_set_impure). */
function markImpure(ov: Overlay, node: number): number {
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

/** Where an upper object is: the node of its directory, that one's descriptor, and the name in it. */
interface UpperName {
  readonly parent: number;
  readonly dir: number;
  readonly name: string;
}

/**
 * The same for directory `to`, before the upper object `at` of `node` gets a name in it, when that has an
 * origin (ovl_type_origin): then the directory it is in is marked.
 */
export function carryImpure(ov: Overlay, node: number, at: UpperName, to: number): number {
  const { table } = ov;
  if (!table.has(at.parent, F_IMPURE) || table.has(to, F_IMPURE)) return 0;
  if (table.lower(node) !== 0) return markImpure(ov, to);
  const size = ov.sys.native.getxattr(at.dir, at.name, `${ov.markPrefix}origin`, 0, 0);
  if (size >= 0) return markImpure(ov, to);
  return noXattr(size) ? 0 : size;
}

/** The view `copy` has the inode number of the new upper object. */
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
  const index = ov.dirListings.get(table.parent(node));
  index?.copiedUp(table.name(node), table.inoLo(node), table.inoHi(node));
  if (from.parts) ov.forgetListing(table.parent(node));
}

function commitFile(ov: Overlay, node: number, from: Source): void {
  const { sys, table, upper } = ov;
  const { inoLo, inoHi } = sys.stats.copy;
  table.setKey(node, upper?.id ?? 0, inoLo, inoHi);
  if (from.parts) table.setIno(node, inoLo, xinoHi(ov, upper?.id ?? 0, inoHi));
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
