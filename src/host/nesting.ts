/**
 * Counts how deep union mounts are stacked. The kernel refuses an overlay on more than one level of overlays
 * (FILESYSTEM_MAX_STACK_DEPTH is 2). It does not count FUSE mounts, so we count ourselves.
 */
import {
  MOUNT_TYPE,
  type MountRow,
  mountsOfTypes,
  statDevice,
  unescapeOctal,
} from '../sys/mountTable.js';
import { splitOptions, splitLayers } from '../options/list.js';
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import { isOutOfReach, look } from '../sys/paths.js';

export const MAX_DEPTH = 2;
/** Types of file systems that are unions. */
export const UNIONS = ['overlay', MOUNT_TYPE];

/** st_dev of the layers of a mount that this process serves; undefined for any other mount. */
export type LayersOf = (device: string) => ReadonlySet<string> | undefined;

/** st_dev → number of union mounts stacked there. */
export class Nesting {
  readonly #unions = new Map<string, MountRow>();
  readonly #layersOf: LayersOf;

  constructor(layersOf: LayersOf, rows: readonly MountRow[] = mountsOfTypes(UNIONS)) {
    this.#layersOf = layersOf;
    for (const row of rows) {
      if (UNIONS.includes(row.type)) this.#unions.set(statDevice(row.device), row);
    }
  }

  /** 0 for a file system of its own. `left` bounds the walk, should the table be circular. */
  depth(stDev: string, left = MAX_DEPTH + 1): number {
    const row = this.#unions.get(stDev);
    if (!row || left === 0) return 0;
    const below = row.type === MOUNT_TYPE ? this.#layersOf(row.device) : overlayLayers(row);
    return 1 + Math.max(0, ...[...(below ?? [])].map((device) => this.depth(device, left - 1)));
  }
}

/** The devices of a kernel overlay's layers, as far as its options name them by whole paths that still lead there. */
function overlayLayers(row: MountRow): Set<string> {
  const devices = new Set<string>();
  for (const [name, value = ''] of splitOptions([unescapeOctal(row.options)])) {
    const layers = name === 'lowerdir' ? splitLayers(value) : [value];
    if (!['lowerdir', 'lowerdir+', 'datadir+', 'upperdir'].includes(name)) continue;
    for (const path of layers.filter((each) => each.startsWith('/'))) {
      const found = look(path);
      if (typeof found !== 'number') devices.add(found.device);
      else if (!isOutOfReach(found)) {
        throw new UserError(
          `cannot tell how deep ${display(path)} is stacked: ${errnoText(found)}`,
        );
      }
    }
  }
  return devices;
}
