/** How an object found in a layer is identified: the number it is shown with, and the key of its node. */
import { isDir } from '../../base/mode.js';
import { STATX } from '../../protocol/layout.js';
import type { Sys } from '../../sys/sys.js';
import { Found } from '../hit.js';
import type { Overlay } from '../overlay.js';

const W_INO = STATX.ino >> 2;

/** The topmost object is the lower one at `at`, in the directory at `place`. */
export function foundLower(ov: Overlay, place: number, at: number): void {
  const { hit, sys } = ov;
  hit.found = Found.Lower;
  hit.mode = sys.statMode(at);
  hit.layer = ov.lowers.layerOf(place);
  hit.place = place;
  setKey(ov, at);
  hit.keyed = !isDir(hit.mode) && sys.statDev(at) === ov.layer(hit.layer).dev;
  showIno(ov, hit.layer, at);
  if (hit.keyed && sys.u32[(at + STATX.nlink) >> 2] > 1) foundLink(ov);
}

/** A lower file with several names: one node, also over layers, unless the names part at copy-up. */
function foundLink(ov: Overlay): void {
  const { hit } = ov;
  hit.linked = ov.links !== undefined;
  hit.keyed = hit.linked || ov.upper === undefined;
  hit.layer = ov.keyLayer(hit.layer);
}

/**
 * True when the file whose statx is at `at` has fewer blocks than its size needs, as a metadata-only
 * copy has: such a file may be one also where no `impure` mark announces it (a tool's layer).
 */
export function isSparse(sys: Sys, at: number): boolean {
  return sys.u64(at + STATX.blocks) * 512 < sys.u64(at + STATX.size_);
}

/** The key of the object whose statx is at `at`: its own inode number. */
export function setKey(ov: Overlay, at: number): void {
  ov.hit.keyLo = ov.sys.u32[(at >> 2) + W_INO];
  ov.hit.keyHi = ov.sys.u32[(at >> 2) + W_INO + 1];
}

/** The inode number an object of `layer` is shown with: its own, with the file system's number on top when there are several. */
export function showIno(ov: Overlay, layer: number, at: number): void {
  const { hit, sys } = ov;
  hit.inoLo = sys.u32[(at >> 2) + W_INO];
  hit.inoHi = xinoHi(ov, layer, sys.u32[(at >> 2) + W_INO + 1]);
}

/** The upper half of the inode number to show for one of an object in `layer`. */
export const xinoHi = (ov: Overlay, layer: number, hi: number): number =>
  ov.xino ? ov.xino.hi(layer, hi) : hi;
