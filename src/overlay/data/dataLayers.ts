/**
 * Data-only layers (`lowerdir=A::D`). They are never merged: only the absolute redirect of a metadata-only
 * copy in a lower leads to a file of theirs. The file is looked for at its first use and not at lookup, so a
 * walk over metadata touches no data layer (ovl_maybe_lookup_lowerdata, ovl_lookup_data_layers in
 * fs/overlayfs/namei.c).
 */
import { E } from '../../base/errno.js';
import { isReg } from '../../base/mode.js';
import { noDataFile } from '../../layer/absence.js';
import type { Layer } from '../../layer/layer.js';
import {
  O_NOFOLLOW,
  O_PATH,
  RESOLVE_LAYER,
  RESOLVE_NO_XDEV,
  STATX_TYPE,
} from '../../sys/constants.js';
import type { Sys } from '../../sys/sys.js';
import type { LowerFile } from '../hit.js';
import { type LowerTable, PLACE_FOUND } from '../inodes/places.js';

export class DataLayers {
  readonly #sys: Sys;
  readonly #lowers: LowerTable;
  /** Layer id → the place of its root, topmost layer first. */
  readonly #roots: ReadonlyMap<number, number>;
  readonly #layers: readonly Layer[];

  /** `layers`: at least one, topmost first. */
  constructor(sys: Sys, lowers: LowerTable, layers: readonly Layer[]) {
    this.#sys = sys;
    this.#lowers = lowers;
    this.#layers = layers;
    this.#roots = new Map(layers.map(({ id }) => [id, lowers.addPlace(id, 0, '', 0)]));
  }

  /** The file at `path` (absolute) in one of the layers; which one, `find` will tell. */
  file(path: string): LowerFile {
    return { parent: this.#roots.get(this.#layers[0].id) ?? 0, name: path.slice(1) };
  }

  /** True when the data at `place` are in one of these layers, and nobody has looked in which. */
  pending(place: number): boolean {
    const lowers = this.#lowers;
    return this.#roots.has(lowers.layerOf(place)) && !lowers.marked(place, PLACE_FOUND);
  }

  /**
   * Looks for a pending file; from then on `place` is where it is. 0, or -errno: -EIO when no layer has
   * it. A layer that cannot be asked may have it, so none below it is settled on.
   */
  find(place: number): number {
    const { native, stats } = this.#sys;
    const { probe } = stats;
    const path = this.#lowers.nameOf(place);
    for (const { id, root } of this.#layers) {
      const fd = this.#sys.open(
        root,
        path,
        O_PATH | O_NOFOLLOW,
        0,
        RESOLVE_LAYER | RESOLVE_NO_XDEV,
      );
      if (noDataFile(fd)) continue;
      if (fd < 0) return fd;
      const known = this.#sys.statFd(fd, probe, STATX_TYPE);
      native.close(fd);
      if (known < 0) return known;
      if (!isReg(probe.mode)) continue;
      this.#lowers.settle(place, id, this.#roots.get(id) ?? 0);
      return 0;
    }
    return -E.EIO;
  }
}
