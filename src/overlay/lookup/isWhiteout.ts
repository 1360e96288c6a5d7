/**
 * Tells which objects of the layers are whiteouts. Where device nodes cannot be made, whiteouts are files
 * (xwhiteouts). Such a file counts only in a directory that has the mark `opaque=x`, or anywhere in a layer
 * whose root has that mark.
 */
import { isDeviceWhiteout, isXWhiteout } from '../../layer/whiteout.js';
import { ROOT } from '../../protocol/flags.js';
import { F_XWHITEOUTS } from '../inodes/record.js';
import { PLACE_XWHITEOUTS } from '../inodes/places.js';
import type { Stat } from '../../sys/stat.js';
import type { Overlay } from '../overlay.js';

/**
 * 1 when `name` in `dir`, the upper directory of node `parent`, is a whiteout, 0 when not,
 * -errno; `stat` has its attributes.
 */
export function isUpperWhiteout(
  ov: Overlay,
  parent: number,
  dir: number,
  name: string,
  stat: Stat,
): number {
  if (isDeviceWhiteout(stat)) return 1;
  return upperAnnounces(ov, parent) ? isXWhiteout(ov.sys, dir, name, stat, ov.markPrefix) : 0;
}

/** The same for an xwhiteout in a lower's directory `place`. */
export const isLowerXWhiteout = (
  ov: Overlay,
  place: number,
  dir: number,
  name: string,
  stat: Stat,
): number => (lowerAnnounces(ov, place) ? isXWhiteout(ov.sys, dir, name, stat, ov.markPrefix) : 0);

/**
 * Whether empty files in a lower's directory may be xwhiteouts. Its own mark or that of the layer's
 * root announces them. Kernel overlayfs looks for them everywhere (ovl_path_is_whiteout) and leaves
 * them out of listings only by a directory's own mark; a layer without marks is not asked here.
 */
export const lowerAnnounces = ({ lowers, xwhiteouts }: Overlay, place: number): boolean =>
  lowers.marked(place, PLACE_XWHITEOUTS) ||
  (xwhiteouts.size > 0 && xwhiteouts.has(lowers.layerOf(place)));

/** The same of the upper directory of node `parent`. */
export const upperAnnounces = ({ table }: Overlay, parent: number): boolean =>
  table.has(parent, F_XWHITEOUTS) || table.has(ROOT, F_XWHITEOUTS);
