/** Files of a few sizes: what an open costs beside what the bytes cost. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Part } from '../types.js';

const KIB = 1024;

export interface Size {
  /** The directory's name, and the size in a row's title. */
  readonly id: string;
  readonly title: string;
  readonly bytes: number;
  readonly count: number;
}

export const SIZES: readonly Size[] = [
  { id: '4k', title: '4 KiB', bytes: 4 * KIB, count: 400 },
  { id: '64k', title: '64 KiB', bytes: 64 * KIB, count: 200 },
  { id: '1m', title: '1 MiB', bytes: KIB * KIB, count: 32 },
  { id: '4m', title: '4 MiB', bytes: 4 * KIB * KIB, count: 16 },
  { id: '16m', title: '16 MiB', bytes: 16 * KIB * KIB, count: 6 },
];

/** SIZE/0, SIZE/1, ..., and SIZE.list with their names. */
export const sizes: Part = {
  name: 'sizes',
  recipe: 1,
  make: (home) => {
    for (const { id, bytes, count } of SIZES) {
      mkdirSync(join(home, 'layer', id));
      const names = Array.from({ length: count }, (_, i) => `${id}/${i}`);
      for (const name of names) writeFileSync(join(home, 'layer', name), randomBytes(bytes));
      writeFileSync(join(home, `${id}.list`), `${names.join('\n')}\n`);
    }
  },
};
