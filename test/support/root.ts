/** Finds the repository from wherever this module runs: tests run the sources, `npm run fuzz` runs a build. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

function findRepository(): string {
  let dir = import.meta.dirname;
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir);
  return dir;
}

export const REPOSITORY = findRepository();
