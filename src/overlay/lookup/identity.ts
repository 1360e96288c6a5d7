/** Identifies an object found in a layer: the inode number it is shown with, and the key of its node. */
import { isDir } from '../../base/mode.js';
import type { Stat } from '../../sys/stat.js';
import { Found, type Hit } from '../hit.js';
import type { Overlay } from '../overlay.js';

/** The topmost object is a lower one, in the directory at `place`; its attributes are in `hit.stat`. */
export function foundLower(ov: Overlay, place: number): void {
  const { hit } = ov;
  const { stat } = hit;
  hit.found = Found.Lower;
  hit.mode = stat.mode;
  hit.layer = ov.lowers.layerOf(place);
  hit.place = place;
  setKey(hit);
  hit.keyed = !isDir(hit.mode) && stat.dev === ov.layer(hit.layer).dev;
  showIno(ov, hit.layer, stat);
  if (hit.keyed && stat.nlink > 1) foundLink(ov);
}

/** A lower file with several names: one node, also over layers, unless the names part at copy-up. */
function foundLink(ov: Overlay): void {
  const { hit } = ov;
  hit.linked = ov.links !== undefined;
  hit.keyed = hit.linked || ov.upper === undefined;
  hit.layer = ov.keyLayer(hit.layer);
}

/**
 * True when a file has fewer blocks than its size needs, as a metadata-only
 * copy has: such a file may be one also where no `impure` mark announces it (a tool's layer).
 */
export const isSparse = ({ blocks, size }: Stat): boolean => blocks * 512 < size;

/** The key of the hit: the own inode number of the topmost object. */
export function setKey(hit: Hit): void {
  hit.keyLo = hit.stat.inoLo;
  hit.keyHi = hit.stat.inoHi;
}

/**
 * The inode number an object of `layer` is shown with: its own, with the file system's number on
 * top when there are several.
 */
export function showIno(ov: Overlay, layer: number, { inoLo, inoHi }: Stat): void {
  ov.hit.inoLo = inoLo;
  ov.hit.inoHi = xinoHi(ov, layer, inoHi);
}

/** The upper half of the inode number to show for one of an object in `layer`. */
export const xinoHi = (ov: Overlay, layer: number, hi: number): number =>
  ov.xino ? ov.xino.hi(layer, hi) : hi;
