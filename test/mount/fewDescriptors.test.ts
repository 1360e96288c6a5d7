/** One thread of the host keeps what descriptors there are: a new mount, on another thread, gets what it needs. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

/** Of each layer two descriptors stay open. */
const LAYERS = 70;
const FILES = 400;
const LIMIT = 260;

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('few descriptors', () => {
  let base: string;

  beforeAll(() => {
    base = scratch('few');
    for (const name of ['many', 'm1', 'm2', 'up', 'work']) mkdirSync(join(base, name));
    for (let i = 0; i < FILES; i++) writeFileSync(join(base, `many/f${i}`), String(i));
    for (let i = 0; i < LAYERS; i++) {
      mkdirSync(join(base, `l${i}`));
      writeFileSync(join(base, `l${i}/in${i}`), String(i));
    }
  });

  afterAll(() => {
    rmSync(base, { recursive: true, force: true });
  });

  it('are shared by the threads of a host', async () => {
    const layers = Array.from({ length: LAYERS }, (_, i) => `l${i}`).join(':');
    const output = await hostScript(
      base,
      `
      ulimit -Sn ${LIMIT}; ulimit -Hn ${LIMIT}
      "$S" -o lowerdir=many m1; cat m1/* | wc -c; p=$(host)
      [ $(ls /proc/$p/fd | wc -l) -gt 100 ] && echo kept
      "$S" -o lowerdir=${layers},upperdir=up,workdir=work m2 && echo mounted; [ "$(host)" = "$p" ] && echo one host
      cat m2/in0 m2/in${LAYERS - 1}; echo; echo x > m2/new; cat m2/new
      cat m1/* | wc -c
      umount m2; "$S" -o lowerdir=${layers},upperdir=up,workdir=work m2 && echo again
      umount m2 m1; quiet`,
    );
    const bytes = Array.from({ length: FILES }, (_, i) => String(i)).join('').length;
    expect(output).toBe(`${bytes}\nkept\nmounted\none host\n0${LAYERS - 1}\nx\n${bytes}\nagain\n`);
  });
});
