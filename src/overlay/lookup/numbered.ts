/** Numbers of lower objects that objects of the upper are shown with (inodes/numbers.ts). */
import { Found, type Hit } from '../hit.js';
import type { Overlay } from '../overlay.js';
import { showIno } from './identity.js';

/** The hit is shown with another object's number. */
const isNumbered = (ov: Overlay, { found, inoLo, stat }: Hit): boolean =>
  found === Found.Upper && inoLo !== stat.inoLo && ov.upper !== undefined;

/** A hit of (parent, name) gives up a number that another node has. */
export function giveUpNumber(ov: Overlay, parent: number, name: string): void {
  const { hit, table } = ov;
  if (!isNumbered(ov, hit)) return;
  const owner = ov.numbers.owner(hit.inoLo, hit.inoHi);
  if (owner === 0 || owner === table.byName(parent, name)) return;
  if (hit.keyed && owner === table.byKey(hit.layer, hit.keyLo, hit.keyHi)) return;
  showIno(ov, hit.layer, hit.stat);
}

/** The hit's node is made. */
export function keepNumber(ov: Overlay, node: number): void {
  if (isNumbered(ov, ov.hit)) ov.numbers.add(node);
}
