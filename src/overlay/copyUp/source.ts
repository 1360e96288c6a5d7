/** Plans a copy-up: what is copied, and from where. */
import { E } from '../../base/errno.js';
import { isDir, isReg, S_ISGID, S_ISUID } from '../../base/mode.js';
import type { Stat } from '../../sys/stat.js';
import { adopts, isForeign } from '../lookup/foreign.js';
import { F_LINKED } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';

/** How much of a file is copied: all of it, so many bytes (a truncation follows), or only metadata. */
export const ALL = Infinity;
export const METADATA = -1;

/** The answer of a copy-up that left the file no longer than asked for: the truncation is done with it. */
export const CUT = 1;

/** What is copied: the lower object's descriptor and name, and its attributes. */
export interface Source {
  readonly stat: Stat;
  readonly dir: number;
  readonly name: string;
  readonly mode: number;
  /** It gets another owner than it had, so no capabilities. */
  readonly adopted: boolean;
  /** A file of several names parts from the others: it gets no origin, and its own inode number. */
  readonly parts: boolean;
  /** A file of several names stays with the others: its name in the index, where it goes; else "". */
  readonly entry: string;
  /** Bytes of data to copy; METADATA: none, the copy only describes the file. */
  readonly limit: number;
  /** That is less than the file has: with its new name the file is truncated, which is a change of its data. */
  readonly cuts: boolean;
}

/** What is to be copied of `node`; -errno when it cannot be. */
export function planSource(ov: Overlay, node: number, limit: number): Source | number {
  const stat = ov.sys.stats.source;
  const code = ov.stat(node, stat);
  if (code < 0) return code;
  const foreign = isForeign(ov, node, stat);
  if (foreign < 0) return foreign;
  const adopted = foreign > 0;
  if (adopted && !adopts(ov)) return -E.EOVERFLOW;
  if (adopted && !isDir(stat.mode)) stat.mode &= ~(S_ISUID | S_ISGID);
  const { mode } = stat;
  if (isDir(mode)) {
    const whole = { parts: false, entry: '', limit: ALL, cuts: false };
    return { stat, dir: ov.realDirOf(node), name: '.', mode, adopted, ...whole };
  }
  const [dir, name] = [ov.realDir(node), ov.realName(node)];
  const linked = stat.nlink > 1;
  const entry = ov.table.has(node, F_LINKED) ? entryOf(ov, node, dir, name) : '';
  if (typeof entry === 'number') return entry;
  const wanted = limit === METADATA && (!isReg(mode) || stat.size === 0) ? ALL : limit;
  const cuts = isReg(mode) && cutsTo(limit, stat.size);
  return {
    stat,
    dir,
    name,
    mode,
    adopted,
    parts: linked && entry === '',
    entry,
    limit: wanted,
    cuts,
  };
}

/** A copy of `limit` bytes makes a file of `size` exactly so short. */
export const cutsTo = (limit: number, size: number): boolean =>
  limit !== METADATA && limit < size && limit <= Number.MAX_SAFE_INTEGER;

/** The name in the index of a lower file; -errno when there can be none. */
function entryOf(ov: Overlay, node: number, dir: number, name: string): string | number {
  const begun = ov.links?.begin() ?? -E.EIO;
  if (begun < 0) return begun;
  // A file without a handle, where the layer's root has one, cannot be told from its like.
  return ov.links?.nameOf(ov.layer(ov.objectLayer(node)), dir, name) || -E.EIO;
}
