/**
 * Maps of sparse files in every form of GNU tar (GNU tar manual, "Storing Sparse Files"): the old GNU header,
 * PAX 0.0 and 0.1 in extended headers, PAX 1.0 in front of the data.
 */
import { BLOCK, numberField } from './header.js';
import { beyond, damaged } from './limits.js';
import { integer, type Records } from './pax.js';
import type { Extent } from './types.js';

const badMap = (): Error => damaged('the map of a sparse file cannot be read');

/**
 * The ranges that hold data, checked: ascending, inside the file, and `stored` bytes in all. `numbers`
 * are offsets and lengths in turn.
 */
export function extentsOf(numbers: readonly number[], size: number, stored: number): Extent[] {
  if (numbers.length % 2 !== 0) throw badMap();
  const extents: Extent[] = [];
  let end = 0;
  let sum = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const [offset, length] = [numbers[i], numbers[i + 1]];
    if (offset < end || length < 0 || offset + length > size) throw badMap();
    end = offset + length;
    sum += length;
    // GNU tar ends a map with an empty range at the end of the file.
    if (length > 0) extents.push({ offset, length });
  }
  if (sum !== stored) throw badMap();
  return extents;
}

/** Numbers of the map in an old GNU header, in up to four pairs; then `more` says that a block of pairs follows. */
const OLD_FIRST = { at: 386, pairs: 4, more: 482 };
const OLD_NEXT = { at: 0, pairs: 21, more: 504 };
const OLD_REAL_SIZE = [483, 12] as const;

export const oldRealSize = (block: Buffer, at: number): number =>
  numberField(block, at, OLD_REAL_SIZE);

/** Adds the pairs of one block to `numbers`; true when another block follows. */
export function readOldMap(
  block: Buffer,
  at: number,
  first: boolean,
  numbers: number[],
  most: number,
): boolean {
  const part = first ? OLD_FIRST : OLD_NEXT;
  for (let i = 0; i < part.pairs; i++) {
    const from = part.at + i * 24;
    if (block[at + from] === 0) break;
    numbers.push(numberField(block, at, [from, 12]), numberField(block, at, [from + 12, 12]));
    if (numbers.length > 2 * most) throw beyond('a sparse file has too many ranges', most);
  }
  return block[at + part.more] !== 0;
}

/** The numbers of a map 0.1: `GNU.sparse.map`, with commas between. */
export function readCommaMap(text: string, most: number): number[] {
  if (text === '') return [];
  const words = text.split(',', 2 * most + 1);
  if (words.length > 2 * most) throw beyond('a sparse file has too many ranges', most);
  return words.map(integer);
}

/** The map 1.0, block by block: a count, then that many pairs, one number a line. */
export class LineMap {
  readonly numbers: number[] = [];
  /** Bytes read, a whole number of blocks. */
  bytes = 0;
  readonly #most: number;
  #count = -1;
  #digits = '';

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes one block; true when the map is whole. */
  add(block: Buffer, at: number): boolean {
    this.bytes += BLOCK;
    for (let i = at; i < at + BLOCK; i++) {
      const byte = block[i];
      if (byte !== 0x0a) {
        if (byte < 0x30 || byte > 0x39 || this.#digits.length > 16) throw badMap();
        this.#digits += String.fromCharCode(byte);
        continue;
      }
      this.#take(integer(this.#digits));
      this.#digits = '';
      if (this.#count >= 0 && this.numbers.length === 2 * this.#count) return true;
    }
    return false;
  }

  #take(value: number): void {
    if (this.#count >= 0) {
      this.numbers.push(value);
      return;
    }
    if (value > this.#most) throw beyond('a sparse file has too many ranges', this.#most);
    this.#count = value;
  }
}

/** The map 1.0 of a file, whole blocks. GNU tar needs an empty range at the end to know of a hole there. */
export function lineMap(extents: readonly Extent[], size: number): string {
  const last = extents.at(-1);
  const end = last ? last.offset + last.length : 0;
  const all = end < size ? [...extents, { offset: size, length: 0 }] : extents;
  const text = `${all.length}\n${all.map(({ offset, length }) => `${offset}\n${length}\n`).join('')}`;
  return text.padEnd(Math.ceil(text.length / BLOCK) * BLOCK, '\0');
}

/** Which form the records announce. */
export function paxSparse(records: Records): 'none' | '0' | '1.0' {
  const [major, minor] = [records.get('GNU.sparse.major'), records.get('GNU.sparse.minor')];
  if (major === '1' && minor === '0') return '1.0';
  if (major !== undefined && major !== '0')
    throw damaged(`sparse files of version ${major} are unknown`);
  return records.has('GNU.sparse.map') || records.has('GNU.sparse.size') ? '0' : 'none';
}
