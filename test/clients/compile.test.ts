import { mkdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { bash } from './support/run.js';
import { MOUNTS, withScratch, withUnion } from './support/union.js';

const MAKE_SOURCES = `
mkdir src; cd src
for n in $(seq 12); do echo "int part$n(void) { return $n; }" > part$n.c; done
{ for n in $(seq 12); do echo "int part$n(void);"; done; } > parts.h
{ echo '#include <stdio.h>'; echo '#include "parts.h"'; echo 'int main(void) { int sum = 0;'
  for n in $(seq 12); do echo "sum += part$n();"; done
  echo 'printf("%d\\n", sum); return 0; }'; } > main.c
printf 'OBJECTS = main.o $(patsubst %%,part%%.o,1 2 3 4 5 6 7 8 9 10 11 12)\\nprogram: $(OBJECTS)\\n\\t$(CC) -o $@ $^\\nmain.o: parts.h\\n' > Makefile
mkdir ../bin; cp /bin/true ../bin/tool`;

describe.skipIf(!has({ ...MOUNTS, programs: ['gcc', 'make'] }))('a C program on the mount', () => {
  it('is built by make and gcc, runs, and only what changed is built again', async () => {
    await withScratch(async (dir) => {
      const lower = `${dir}/lower`;
      await mkdir(lower);
      await bash(MAKE_SOURCES, { cwd: lower });
      await withUnion('stratafs', [lower], async ({ mountpoint }) => {
        const cwd = `${mountpoint}/src`;
        const make = async (): Promise<string> => (await bash('make -j2 CC=gcc', { cwd })).stdout;
        const compiled = (log: string): number =>
          log.split('\n').filter((l) => / -c /.test(l)).length;

        expect(compiled(await make())).toBe(13);
        expect((await bash('./program', { cwd })).stdout).toBe('78\n');
        expect(await make()).toContain('up to date');

        // A copy-up by sed -i (rename over), one by an append, one by touch alone.
        await bash(
          'sleep 0.02; sed -i s/return.7/return\\ 107/ part7.c; echo "/* */" >> part8.c; touch part9.c',
          {
            cwd,
          },
        );
        expect(compiled(await make())).toBe(3);
        expect((await bash('./program', { cwd })).stdout).toBe('178\n');
      });
    });
  });

  it('replaces a program that runs, and refuses to write to one', async () => {
    await withScratch(async (dir) => {
      const lower = `${dir}/lower`;
      await mkdir(lower);
      await bash('cp /bin/sleep sleep', { cwd: lower });
      await withUnion('stratafs', [lower], async ({ mountpoint }) => {
        const script = `
./sleep 20 & pid=$!
until [ "$(readlink /proc/$pid/exe)" = "$PWD/sleep" ]; do :; done
if (echo x >> sleep) 2>/dev/null; then echo written; fi
cp /bin/true new; mv new sleep; ./sleep nonsense; echo replaced
kill $pid; wait $pid || true`;
        const { stdout } = await bash(script, { cwd: mountpoint });
        expect(stdout).toBe('replaced\n');
      });
    });
  });
});
