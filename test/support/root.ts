/** The repository, wherever this module runs from: tests run the sources, `npm run fuzz` a build. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

function findRepository(): string {
  let dir = import.meta.dirname;
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir);
  return dir;
}

export const REPOSITORY = findRepository();
