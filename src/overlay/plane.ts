/**
 * Chooses the data plane of a mount (`data`). `auto` does not measure: it follows earlier measurements
 * (docs/data-planes.md). An open of a file that is passed through costs one request more; reading it saves a copy
 * of each page. From LARGE on the saving was greater in every run: cold and warm, read and mapped, also on a
 * busy machine, where requests are expensive. On a quiet machine the two are level between 1 and 4 MiB.
 */
import { DT_DIR, DT_REG } from '../base/mode.js';
import { readEntries } from '../layer/directory.js';
import type { Layer } from '../layer/layer.js';
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_LAYER, STATX_SIZE } from '../sys/constants.js';
import { SMALL, type Sys } from '../sys/sys.js';
import { administersMachine } from '../sys/userns.js';
import type { OverlaySpec } from './spec.js';

/** Bytes from which on a file is no slower passed through than cached. */
const LARGE = 16 << 20;
/** Entries of the layers that `auto` looks at. */
const ENTRIES_MAX = 1000;

/** File systems that lie on others (s_stack_depth may be above 0), by statfs(2)'s f_type. */
const STACKED = new Set([0x794c_7630, 0x6573_5546, 0xf15f]); // overlayfs, fuse, ecryptfs

/** The layer's file system lies, or may lie, on others; also when it does not tell. */
export function isStacked(sys: Sys, layer: Layer): boolean {
  return sys.native.fstatfs(layer.root, SMALL) < 0 || STACKED.has(sys.u32[SMALL >> 2]);
}

/**
 * True: pass through. With `auto` only what is read-only, so that nothing differs but the speed, and
 * cannot fail for want of rights or by its layers; whether the kernel can, INIT tells.
 * `all`: every layer; `merged`: those whose files show.
 */
export function passesThrough(
  sys: Sys,
  { data, readOnly }: OverlaySpec,
  all: Iterable<Layer>,
  merged: readonly Layer[],
): boolean {
  if (data !== 'auto') return data === 'passthrough';
  if (!readOnly || !administersMachine()) return false;
  for (const layer of all) if (isStacked(sys, layer)) return false;
  return mostlyLarge(sys, merged);
}

/** At least half of the regular files that are found first, from the roots down, are large. */
function mostlyLarge(sys: Sys, layers: readonly Layer[]): boolean {
  const dirs = layers.map(({ root }) => ({ root, path: '.' }));
  const seen = { entries: 0, files: 0, large: 0 };
  for (const { root, path } of dirs) {
    if (seen.entries >= ENTRIES_MAX) break;
    const dir = sys.open(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_LAYER);
    // What cannot be read tells nothing; using it will say why.
    if (dir < 0) continue;
    const visit = (name: string, type: number): void => {
      if (++seen.entries > ENTRIES_MAX) return;
      if (type === DT_DIR) dirs.push({ root, path: `${path}/${name}` });
      if (type !== DT_REG) return;
      seen.files++;
      if (sizeOf(sys, dir, name) >= LARGE) seen.large++;
    };
    readEntries(sys, dir, visit, 1);
    sys.native.close(dir);
  }
  return seen.files > 0 && seen.large * 2 >= seen.files;
}

function sizeOf(sys: Sys, dir: number, name: string): number {
  const { probe } = sys.stats;
  return sys.statName(dir, name, probe, STATX_SIZE) < 0 ? 0 : probe.size;
}
