/** A project of 40 packages for npm, with the cache that has them: no network is needed. */
import { cpSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Part } from '../types.js';
import { run } from './run.js';

const PACKAGES = 40;

/** Small files of the fixture, dealt to the packages. */
function deal(list: string, root: string): string[][] {
  const files = readFileSync(list, 'utf8').trim().split('\n');
  const hands: string[][] = Array.from({ length: PACKAGES }, () => []);
  for (const [index, name] of files.entries()) {
    const file = join(root, name);
    if (lstatSync(file).isFile()) hands[index % PACKAGES]?.push(file);
  }
  return hands;
}

function writeJson(file: string, content: unknown): void {
  writeFileSync(file, `${JSON.stringify(content, undefined, 2)}\n`);
}

export const npm: Part = {
  name: 'npm',
  recipe: 1,
  programs: ['npm', 'tar'],
  make: (home, { fixture }) => {
    const project = join(home, 'layer/project');
    mkdirSync(join(project, 'tarballs'), { recursive: true });
    const dependencies: Record<string, string> = {};
    for (const [number, files] of deal(fixture.smallFiles, fixture.plain).entries()) {
      const name = `bench-package-${number}`;
      const content = join(home, 'package');
      mkdirSync(join(content, 'lib'), { recursive: true });
      writeJson(join(content, 'package.json'), { name, version: '1.0.0', license: 'MIT' });
      for (const [index, file] of files.entries()) {
        cpSync(file, join(content, 'lib', `${index}-${basename(file)}`));
      }
      run(['tar', '-czf', join(project, 'tarballs', `${name}.tgz`), '-C', home, 'package']);
      rmSync(content, { recursive: true });
      dependencies[name] = `file:tarballs/${name}.tgz`;
    }
    const manifest = { name: 'bench-project', version: '1.0.0', private: true, dependencies };
    writeJson(join(project, 'package.json'), manifest);
    // The first install fills the cache and writes the lock file.
    const cache = `--cache=${join(home, 'cache')}`;
    const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--no-update-notifier'];
    run(['npm', 'install', '--offline', cache, ...quiet], { cwd: project });
    rmSync(join(project, 'node_modules'), { recursive: true });
  },
};
