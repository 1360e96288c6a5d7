/** Connects the passthrough plane with the kernel: ioctls and notifications of one connection. */
import { display } from '../base/bytes.js';
import { E, errnoText } from '../base/errno.js';
import { DT_DIR, DT_REG } from '../base/mode.js';
import { readEntries } from '../layer/directory.js';
import type { Layer } from '../layer/layer.js';
import { Backings } from '../overlay/data/backings.js';
import type { Overlay } from '../overlay/overlay.js';
import { isStacked } from '../overlay/plane.js';
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_LAYER } from '../sys/constants.js';
import type { Sys } from '../sys/sys.js';
import { invalidateAttributes } from './notify.js';

/** Entries of a stacked layer looked at for a file to try. */
const SAMPLE_MAX = 4096;

export function connectBackings(ov: Overlay, slot: number): void {
  const { sys } = ov;
  ov.backings = new Backings({
    open: (fd) => sys.native.passthroughOpen(slot, fd),
    close: (id) => {
      sys.native.passthroughClose(slot, id);
    },
    invalidate: (node) => {
      invalidateAttributes(sys, slot, node);
    },
  });
}

/**
 * Why the layers cannot be passed through, or undefined. A stacked layer may itself be too deep; the
 * kernel tells only for a regular file, so one is looked for. To be called after INIT.
 */
export function passthroughProblem(ov: Overlay, slot: number): string | undefined {
  for (const layer of ov.allLayers()) {
    if (!isStacked(ov.sys, layer)) continue;
    const code = tryLayer(ov.sys, slot, layer);
    if (code >= 0) continue;
    const where = `layer ${display(layer.path)}`;
    return code === -E.ELOOP
      ? `${where} lies on a file system that is itself stacked twice, which data=passthrough cannot reach: leave the option out`
      : `${where} cannot be passed through: ${errnoText(code)}; leave data=passthrough out`;
  }
  return undefined;
}

function tryLayer(sys: Sys, slot: number, layer: Layer): number {
  const file = findFile(sys, layer.root, { left: SAMPLE_MAX });
  if (file < 0) return file === -E.ENOENT ? 0 : file;
  const id = sys.native.passthroughOpen(slot, file);
  sys.native.close(file);
  return id < 0 ? id : sys.native.passthroughClose(slot, id);
}

/** O_PATH descriptor of some regular file below a directory; -ENOENT when there is none. */
function findFile(sys: Sys, dir: number, budget: { left: number }): number {
  const dirs: string[] = [];
  let file: string | undefined;
  const read = readEntries(sys, dir, (name, type) => {
    if (--budget.left < 0) return;
    if (type === DT_REG) file ??= name;
    else if (type === DT_DIR) dirs.push(name);
  });
  if (read < 0) return read;
  const open = (name: string, flags: number): number =>
    sys.open(dir, name, O_PATH | O_NOFOLLOW | flags, 0, RESOLVE_LAYER);
  if (file !== undefined) return open(file, 0);
  for (const name of dirs) {
    if (budget.left <= 0) break;
    const below = open(name, O_DIRECTORY);
    if (below < 0) return below;
    const found = findFile(sys, below, budget);
    sys.native.close(below);
    if (found !== -E.ENOENT) return found;
  }
  return -E.ENOENT;
}
