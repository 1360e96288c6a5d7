/** Trees for the limits: a million files, 2,000 layers, a file of 1 GiB. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeBig } from '../bigFile.js';
import type { Part } from '../types.js';
import { run } from './run.js';

const DIRECTORIES = 5;
const LAYERS = 2000;
const NAMES = 100;
const GIB = 1024 ** 3;

/** 5 directories of 200,000 empty files with names of 8 bytes (with --quick of 4,000). */
export const many: Part = {
  name: 'many',
  recipe: 1,
  make: (home, { client, quick }) => {
    mkdirSync(join(home, 'layer/many'));
    for (let i = 0; i < DIRECTORIES; i++) {
      const directory = join(home, 'layer/many', String(i));
      run([client, '/', 'files', directory, quick ? '4000' : '200000']);
    }
  },
};

/** layers/0 to layers/1999. Each has a name of its own and the directory `d`; 0 has the names asked for. */
export const layers: Part = {
  name: 'layers',
  recipe: 1,
  make: (home) => {
    for (let i = 0; i < LAYERS; i++) {
      const layer = join(home, 'layers', String(i));
      mkdirSync(join(layer, 'd'), { recursive: true });
      writeFileSync(join(layer, `file-${i}`), '');
      writeFileSync(join(layer, 'd', `file-${i}`), '');
    }
    mkdirSync(join(home, 'layers/0/share'));
    for (let i = 0; i < NAMES; i++) writeFileSync(join(home, 'layers/0/d', `bottom-${i}`), '');
  },
};

/** One file of 1 GiB (with --quick of 64 MiB). */
export const huge: Part = {
  name: 'huge',
  recipe: 1,
  make: (home, { quick }) => writeBig(join(home, 'layer/huge/data'), quick ? GIB / 16 : GIB),
};
