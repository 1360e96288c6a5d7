/** Trees with programs, with a repository of git, and with something to compile. */
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Part } from '../types.js';
import { run } from './run.js';

const GIT_ENV = {
  ...process.env,
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_DATE: '2026-01-01T00:00:00Z',
  GIT_COMMITTER_DATE: '2026-01-01T00:00:00Z',
};

interface Python {
  readonly program: string;
  readonly library: string;
}

/** The interpreter behind `python3`, and its library. */
function findPython(): Python {
  const system = '/usr/bin/python3';
  const program = existsSync(system) ? system : 'python3';
  const code =
    'import json, os, sys, sysconfig; print(json.dumps({"program": os.path.realpath(sys.executable), "library": sysconfig.get_path("stdlib")}))';
  return JSON.parse(run([program, '-c', code])) as Python;
}

/** python3 with its own library, and node: read from the tree, linked with the host's libraries. */
export const programs: Part = {
  name: 'programs',
  recipe: 1,
  programs: ['python3', 'tar'],
  make: (home) => {
    const layer = join(home, 'layer');
    const python = findPython();
    for (const directory of ['python/bin', 'python/lib', 'node/bin']) {
      mkdirSync(join(layer, directory), { recursive: true });
    }
    copyFileSync(python.program, join(layer, 'python/bin/python3'));
    const library = basename(python.library);
    const without = ['site-packages', 'dist-packages', 'test', 'config-*', 'idlelib'];
    const excluded = without.map((name) => `--exclude=${library}/${name}`);
    const tree = join(home, 'library.tar');
    run(['tar', '-chf', tree, '-C', dirname(python.library), ...excluded, library]);
    run(['tar', '-xf', tree, '-C', join(layer, 'python/lib')]);
    copyFileSync(process.execPath, join(layer, 'node/bin/node'));
  },
};

/** A repository of the fixture's tree `lib`, committed. */
export const git: Part = {
  name: 'git',
  recipe: 1,
  programs: ['git'],
  make: (home, { fixture }) => {
    const repo = join(home, 'layer/repo');
    cpSync(join(fixture.plain, 'lib'), join(repo, 'lib'), {
      recursive: true,
      verbatimSymlinks: true,
      preserveTimestamps: true,
    });
    const identity = ['-c', 'user.name=bench', '-c', 'user.email=bench@example.org'];
    const work = (...args: string[]) =>
      run(['git', '-c', 'gc.auto=0', ...identity, ...args], { cwd: repo, env: GIT_ENV });
    work('init', '--quiet', '--initial-branch=main', '.');
    work('add', '--all', '--force');
    work('commit', '--quiet', '--message=Begin');
    const small = readFileSync(fixture.smallFiles, 'utf8').trim().split('\n');
    const step = Math.max(1, Math.floor(small.length / 200));
    const changed = small.filter((_, index) => index % step === 0).slice(0, 200);
    writeFileSync(join(home, 'changed.list'), `${changed.join('\n')}\n`);
  },
};

const FILES = 24;
const HEADERS = 120;

const source = (number: number): string => `#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include "include/all.h"
${Array.from(
  { length: 20 },
  (_, i) => `
int work_${number}_${i}(const char *name) {
  struct item_${(number * 5 + i) % HEADERS} item = {{0}, ${i}};
  strncpy(item.name, name, sizeof item.name - 1);
  for (int k = 0; k < ${i + 3}; k++) item.value += (int)strlen(item.name) * k;
  printf("%s %d\\n", item.name, item.value);
  return item.value;
}`,
).join('\n')}
`;

/** 24 C files that each read 120 headers of their own and the host's. */
export const project: Part = {
  name: 'project',
  recipe: 1,
  make: (home) => {
    const root = join(home, 'layer/project');
    mkdirSync(join(root, 'include'), { recursive: true });
    const header = (i: number) =>
      `#pragma once\nstruct item_${i} {\n  char name[64];\n  int value;\n};\n`;
    const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
    for (const i of numbers(HEADERS)) writeFileSync(join(root, `include/item_${i}.h`), header(i));
    const all = numbers(HEADERS).map((i) => `#include "item_${i}.h"\n`);
    writeFileSync(join(root, 'include/all.h'), all.join(''));
    for (const i of numbers(FILES)) writeFileSync(join(root, `part_${i}.c`), source(i));
    writeFileSync(join(root, 'main.c'), 'int main(void) {\n  return 0;\n}\n');
    const objects = numbers(FILES).map((i) => `part_${i}.o`);
    const makefile = [
      'CFLAGS = -O1',
      `prog: main.o ${objects.join(' ')}`,
      '\t$(CC) -o $@ $^',
      // One file of no use, to have the compiler in memory.
      'warm:',
      '\techo "#include <stdlib.h>\\nint main(void) { return 0; }" > warm.c && $(CC) $(CFLAGS) -o warm warm.c',
    ];
    writeFileSync(join(root, 'Makefile'), `${makefile.join('\n')}\n`);
  },
};
