/** The session's side of nodes without xattrs (overlay/data/bare.ts). */
import { comparedByStorage } from '../overlay/format.js';
import type { Overlay } from '../overlay/overlay.js';
import { Op } from '../protocol/opcodes.js';

/** Not where another mount changes the upper, nor where the names on disk are others than those shown. */
export function connectBare(ov: Overlay, slot: number): void {
  if (ov.live || ov.overrides) return;
  const { native } = ov.sys;
  const counters = native.counters(slot);
  const changes = ov.upper !== undefined || ov.frozen !== undefined;
  const tolerated = !changes && comparedByStorage(ov.sys, ov.layers[0].path);
  const roots = tolerated ? ov.layers.map((layer) => layer.root) : undefined;
  ov.bare.connect(
    {
      share: (bits) => {
        native.shareBare(slot, bits);
      },
      asked: () => counters[Op.GETXATTR] + counters[Op.LISTXATTR],
      census: (root) => native.poolCensus(slot, root, ov.markPrefix),
    },
    roots,
  );
}
