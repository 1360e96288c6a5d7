/** Looks up a name that is about to change: a node, a whiteout, or nothing. */
import { isDir } from '../../base/mode.js';
import { noName } from '../../layer/absence.js';
import { Found } from '../hit.js';
import { F_UPPER } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';
import { isUpperWhiteout } from './isWhiteout.js';
import { nodeOfHit, resolve, resolveLowers } from './lookup.js';

/** A name and what stands there. */
export interface NameSlot {
  readonly parent: number;
  readonly name: string;
  /** 0: nothing. */
  readonly node: number;
  readonly dir: boolean;
  /** A whiteout stands there in the upper. */
  readonly whiteout: boolean;
}

/** What is at (parent, name), or -errno. */
export function locate(ov: Overlay, parent: number, name: string): NameSlot | number {
  const known = ov.table.byName(parent, name);
  if (known !== 0) {
    return { parent, name, node: known, dir: isDir(ov.table.mode(known)), whiteout: false };
  }
  const code = resolve(ov, parent, name);
  if (code < 0) return code;
  const { found } = ov.hit;
  if (found === Found.None || found === Found.UpperWhiteout) {
    const whiteout = hasWhiteout(ov, parent, name);
    if (typeof whiteout === 'number') return whiteout;
    return { parent, name, node: 0, dir: false, whiteout };
  }
  const node = nodeOfHit(ov, parent, name);
  return { parent, name, node, dir: isDir(ov.hit.mode), whiteout: false };
}

/** A whiteout stands at the name in the upper: a listing does not tell. -errno on failure. */
function hasWhiteout(ov: Overlay, parent: number, name: string): boolean | number {
  if (!ov.table.has(parent, F_UPPER)) return false;
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const { probe } = ov.sys.stats;
  const code = ov.sys.statName(dir, name, probe);
  if (code < 0) return noName(code) ? false : code;
  const whiteout = isUpperWhiteout(ov, parent, dir, name, probe);
  return whiteout < 0 ? whiteout : whiteout > 0;
}

/**
 * A lower object would show at (parent, name) if the upper had nothing there; also one that is only
 * found to be broken further down (ovl_lower_positive). -errno on failure.
 */
export function lowerShows(ov: Overlay, parent: number, name: string): boolean | number {
  ov.hit.reset();
  const code = resolveLowers(ov, parent, name);
  if (ov.hit.found === Found.Lower) return true;
  return code < 0 ? code : false;
}
