/** The plan of a copy-up: what is copied, and where that is. */
import { E } from '../../base/errno.js';
import { isDir, isReg } from '../../base/mode.js';
import { STATX } from '../../protocol/layout.js';
import { STAT_A } from '../../sys/sys.js';
import { isForeign } from '../lookup/foreign.js';
import { F_LINKED } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';

/** How much of a file is copied: all of it, so many bytes (a truncation follows), or only metadata. */
export const ALL = Infinity;
export const METADATA = -1;

/** What is copied: the lower object's descriptor and name; its statx is at STAT_A. */
export interface Source {
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

/** What is to be copied of `node`, whose statx it leaves at STAT_A; -errno when it cannot be. */
export function planSource(ov: Overlay, node: number, limit: number): Source | number {
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
  return ov.links?.nameOf(ov.layer(ov.objectLayer(node)), dir, name) || -E.EIO;
}
