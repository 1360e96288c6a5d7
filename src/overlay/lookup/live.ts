/**
 * Lookups in a read-only mount of an upper that another mount changes meanwhile.
 *
 * - The kernel keeps names and attributes for one second only (src/fuse/encode.ts).
 * - No listing outlives the reading of its directory.
 * - Each lookup asks the layers and, here, corrects the node of the name.
 * - An open through a name that now belongs to another object is answered with ESTALE (`Overlay.lowerDir`,
 *   `stat`, `openObject`). The kernel then looks the name up again; for a descriptor it passes ESTALE on.
 */
import { isDir, S_IFMT } from '../../base/mode.js';
import { F_METACOPY } from '../inodes/record.js';
import { dataStack, nodeOfHit, stackOfHit } from './lookup.js';
import type { Overlay } from '../overlay.js';

/** The name leads nowhere now. */
export function lose(ov: Overlay, parent: number, name: string): void {
  const known = ov.table.byName(parent, name);
  if (known === 0) return;
  ov.table.detachName(known);
  ov.table.setKey(known, 0, 0, 0);
}

/** `nodeOfHit`, when the name may have been another object's. */
export function renew(ov: Overlay, parent: number, name: string): number {
  const { hit, table } = ov;
  const known = table.byName(parent, name);
  if (known !== 0 && isDir(hit.mode) && isDir(table.mode(known))) {
    // A process in the directory stays in the directory that has its name.
    ov.replaceLower(known, stackOfHit(ov));
    ov.dirListings.drop(known);
    table.setIno(known, hit.inoLo, hit.inoHi);
    table.setMode(known, hit.mode);
    return known;
  }
  const same = hit.keyed ? table.byKey(hit.layer, hit.keyLo, hit.keyHi) : 0;
  if (known !== 0 && known !== same) lose(ov, parent, name);
  if (same === 0) return nodeOfHit(ov, parent, name);
  if (hit.index !== '') return nodeOfHit(ov, parent, name);
  if (((table.mode(same) ^ hit.mode) & S_IFMT) !== 0) {
    // Another object with the number of one that is gone.
    table.detachName(same);
    table.setKey(same, 0, 0, 0);
    return nodeOfHit(ov, parent, name);
  }
  relocate(ov, same);
  table.rename(same, parent, name, ov.dropped);
  table.setMode(same, hit.mode);
  return same;
}

/** The file is where the hit says, and so is its data. */
function relocate(ov: Overlay, node: number): void {
  const { hit, table } = ov;
  if (hit.data) {
    ov.replaceLower(node, dataStack(ov, hit.data, hit.place));
    table.set(node, F_METACOPY);
    return;
  }
  if (table.has(node, F_METACOPY)) ov.dataMoved(node);
  ov.lowers.hold(hit.place);
  ov.replaceLower(node, hit.place);
}
