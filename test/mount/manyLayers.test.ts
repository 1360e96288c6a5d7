/** From 1 to 2,000 layers: mounted in reasonable time, and then as fast as few. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';

const MOST = 2000;
const FEW = 10;
/** A tenth of it is usual; what grows with the square of the layers takes longer. */
const MOUNT_MS = 6000;

const ways = ['an argument', 'options, one by one', 'a file', 'a file of one line'] as const;

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('many layers', () => {
  let base: string;

  beforeAll(() => {
    base = scratch('many-layers');
    for (const name of ['up', 'work', 'mnt', 'L']) mkdirSync(join(base, name));
    for (let i = 1; i <= MOST; i++) {
      mkdirSync(join(base, `L/${i}/d`), { recursive: true });
      writeFileSync(join(base, `L/${i}/f${i}`), '');
      writeFileSync(join(base, `L/${i}/d/same`), `${i}`);
      writeFileSync(join(base, `L/${i}/d/g${i}`), `${i}`);
    }
  });

  afterAll(() => {
    rmSync(base, { recursive: true, force: true });
  });

  /** The arguments that mount the first `count` layers. Relative paths start at the caller's directory. */
  function argumentsFor(count: number, way: (typeof ways)[number]): string[] {
    const layers = Array.from({ length: count }, (_, i) => `L/${i + 1}`);
    const rest = 'upperdir=up,workdir=work';
    const whole = `lowerdir=${layers.join(':')}`;
    if (way === 'an argument') return ['-o', whole, '-o', rest, 'mnt'];
    const each = layers.map((layer) => `lowerdir+=${layer}`);
    if (way === 'options, one by one') return ['-o', `${each.join(',')},${rest}`, 'mnt'];
    // Far more than one argument may have.
    const long = whole.replaceAll('L/', `L${'/.'.repeat(100)}/`);
    const text = way === 'a file' ? [...each, rest].join('\n') : `${long},${rest}`;
    writeFileSync(join(base, 'options'), text);
    return ['-o', 'optionsfile=options', 'mnt'];
  }

  const stratafs = (args: readonly string[]): Promise<{ stdout: string }> =>
    mustRun(stratafsBinary(), args, { cwd: base });

  async function requests(): Promise<number> {
    const { stdout } = await stratafs(['stats', 'mnt', '--json']);
    const counts = (JSON.parse(stdout) as { requests: Record<string, number> }).requests;
    // find asks once for the file system itself.
    return Object.entries(counts).reduce((sum, [name, n]) => sum + (name === 'STATFS' ? 0 : n), 0);
  }

  /** Looks at everything that `count` layers have in directory d and at one file of each in the root. */
  async function look(count: number): Promise<void> {
    const seen = await mustRun('find', ['.', '-printf', '%s\n'], { cwd: join(base, 'mnt') });
    expect(seen.stdout.trim().split('\n')).toHaveLength(2 * count + 3);
    const read = await mustRun('cat', ['d/same', `d/g${count}`], { cwd: join(base, 'mnt') });
    expect(read.stdout).toBe(`1${count}`);
  }

  /**
   * The requests of a warm look: a few, as the writeback cache asks again after a close, and not one
   * for each layer. The least of some tries: another program may drop the kernel's caches.
   */
  async function warm(count: number): Promise<number> {
    let least = Infinity;
    for (let tries = 0; tries < 8 && least > FEW; tries++) {
      const before = await requests();
      await look(count);
      least = Math.min(least, (await requests()) - before);
    }
    return least;
  }

  const cases = [
    ...[1, 2, 500, 501].map((count) => [count, 'an argument'] as const),
    ...ways.map((way) => [MOST, way] as const),
  ];
  it.each(cases)('%i by %s', async (count, way) => {
    const started = performance.now();
    await stratafs(argumentsFor(count, way));
    const took = performance.now() - started;
    try {
      await look(count);
      expect(await warm(count)).toBeLessThanOrEqual(FEW);
      expect(took).toBeLessThan(MOUNT_MS);
    } finally {
      await stratafs(['unmount', 'mnt']);
    }
  });
});
