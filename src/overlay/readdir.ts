/** The merged listing of a directory (ovl_dir_read_merged), built once and kept in the mount's indexes. */
import { DT_CHR, DT_DIR, DT_REG } from '../base/mode.js';
import { readEntries } from '../layer/directory.js';
import { dotHidden, isDeviceWhiteout, isDotMark, isXWhiteout } from '../layer/whiteout.js';
import { AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS } from '../sys/constants.js';
import { STAT_B } from '../sys/sys.js';
import { DirIndex, FROM_UPPER } from './dirIndex.js';
import { F_IMPURE, F_UPPER, F_XWHITEOUTS } from './inodeTable.js';
import { PLACE_XWHITEOUTS } from './lowers.js';
import { xinoHi } from './identity.js';
import type { Overlay } from './overlay.js';

/** The directory's index, or -errno. */
export function indexOf(ov: Overlay, node: number): DirIndex | number {
  const kept = ov.indexes.ask(node);
  if (kept) return kept;
  const index = new DirIndex();
  const hidden = new Set<string>();
  let code = 0;
  if (ov.table.has(node, F_UPPER)) code = addUpper(ov, node, index, hidden);
  const stack = ov.table.lower(node);
  for (let i = 0; code >= 0 && i < ov.lowers.count(stack); i++) {
    code = addLower(ov, ov.lowers.place(stack, i), i, index, hidden);
  }
  if (code < 0) return code;
  ov.indexes.keep(node, index);
  return index;
}

function addUpper(ov: Overlay, node: number, index: DirIndex, hidden: Set<string>): number {
  const dir = ov.upperDir(node);
  if (dir < 0) return dir;
  const impure = ov.table.has(node, F_IMPURE);
  const merged = ov.table.lower(node) !== 0;
  const layer = ov.upper?.id ?? 0;
  const xwhiteouts = ov.table.has(node, F_XWHITEOUTS);
  return readEntries(ov.sys, dir, (name, type, lo, hi) => {
    const hide =
      (type === DT_CHR && isWhiteout(ov, dir, name)) ||
      (type === DT_REG && xwhiteouts && isMarkedFile(ov, dir, name));
    if (hide) {
      hidden.add(name);
      return;
    }
    // A copied-up entry is shown with its origin's number: only a lookup tells it.
    const unknown = type === DT_DIR ? merged : impure;
    index.put(name, type, FROM_UPPER, unknown ? -1 : lo, xinoHi(ov, layer, hi));
  });
}

function addLower(
  ov: Overlay,
  place: number,
  position: number,
  index: DirIndex,
  hidden: Set<string>,
): number {
  const dir = ov.lowerDir(place);
  if (dir < 0) return dir;
  const layer = ov.lowers.layerOf(place);
  const xwhiteouts = ov.lowers.marked(place, PLACE_XWHITEOUTS);
  // What this layer hides, it hides in the layers below it.
  const hides: string[] = [];
  const code = readEntries(ov.sys, dir, (name, type, lo, hi) => {
    if (isDotMark(name)) {
      const target = dotHidden(name);
      if (target !== undefined) hides.push(target);
      return;
    }
    if (hidden.has(name)) return;
    const above = index.slot(name);
    if (above !== undefined) {
      if (type === DT_DIR && index.type(above) === DT_DIR) index.merge(above, position + 1);
      else hides.push(name); // a file ends the merging of directories above it
      return;
    }
    const hide =
      (type === DT_CHR && isWhiteout(ov, dir, name)) ||
      (type === DT_REG && xwhiteouts && isMarkedFile(ov, dir, name));
    if (hide) hides.push(name);
    else index.put(name, type, position + 1, lo, xinoHi(ov, layer, hi));
  });
  for (const name of hides) hidden.add(name);
  return code;
}

function statInto(ov: Overlay, dir: number, name: string): boolean {
  const { native } = ov.sys;
  return native.statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, STAT_B) >= 0;
}

const isWhiteout = (ov: Overlay, dir: number, name: string): boolean =>
  statInto(ov, dir, name) && isDeviceWhiteout(ov.sys, STAT_B);

const isMarkedFile = (ov: Overlay, dir: number, name: string): boolean =>
  statInto(ov, dir, name) && isXWhiteout(ov.sys, dir, name, STAT_B, ov.markPrefix);
