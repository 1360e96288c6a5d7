/** What `volume create -o` takes for a union. */
import { statSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import type { UnionVolume } from './records.js';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};
/** mkfs.ext4 makes a journal from here on. */
const LEAST_SIZE = 16 * 2 ** 20;

/** `10G`: bytes, with k, m, g or t in units of 1024. Throws UserError. */
export function parseSize(text: string): number {
  const match = /^(\d{1,15})([kmgt]?)(?:i?b)?$/i.exec(text.trim());
  const size = match ? Number(match[1]) * UNITS[match[2].toLowerCase()] : Number.NaN;
  if (!Number.isSafeInteger(size)) throw new UserError(`size=${text} is no size: write 10G`);
  if (size < LEAST_SIZE) throw new UserError(`size=${text} is too small: 16M is the least`);
  return size;
}

function checkLower(path: string): string {
  if (!path.startsWith('/')) throw new UserError(`lower=${path} must be an absolute path`);
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isDirectory()) throw new UserError(`lower=${path} is not a directory`);
  return path;
}

/**
 * A union as `-o lower=DIR[:DIR...] [-o size=SIZE]` asks for it; undefined without `lower`. Throws
 * UserError: for `size` without it, for an option that is not known.
 */
export function unionOptions(options: Readonly<Record<string, string>>): UnionVolume | undefined {
  const { lower, size, ...others } = options as Readonly<Record<string, string | undefined>>;
  const unknown = Object.keys(others).at(0);
  if (lower === undefined) {
    if (size === undefined) return undefined;
    throw new UserError('size= needs lower=: a plain volume has no limit of its own');
  }
  if (unknown !== undefined) {
    throw new UserError(`${unknown} is no option of a union volume: lower=DIR[:DIR...], size=SIZE`);
  }
  const lowers = lower.split(':').filter((path) => path !== '');
  if (lowers.length === 0) throw new UserError('lower= names no directory');
  const union = { lower: lowers.map(checkLower) };
  return size === undefined ? union : { ...union, size: parseSize(size) };
}
