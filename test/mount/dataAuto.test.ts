/** data=auto: which plane a mount gets. */
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Fixture, makeFixture } from '../support/fixture.js';
import { withMount } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { NEEDS, RDONLY, statsOf } from '../support/passthrough.js';
import { makeDir } from '../support/place.js';
import { mustRun } from '../support/run.js';

const OPTIONS = ['data=auto'];
/** From here on a file is large. */
const LARGE = 16 << 20;

/** Two layers; the lower one has files of these sizes, in a directory. */
async function filesOf(...sizes: readonly number[]): Promise<Fixture> {
  const fixture = await makeFixture('auto', { lowers: [[], []], upper: false });
  const dir = join(fixture.stack.lowers[1] ?? '', 'a/b');
  mkdirSync(dir, { recursive: true });
  for (const [i, size] of sizes.entries()) {
    writeFileSync(join(dir, `f${i}`), '');
    truncateSync(join(dir, `f${i}`), size);
  }
  return fixture;
}

/** The plane that the fixture's mount gets. */
async function planeOf({ stack, mountpoint, top }: Fixture, ...more: string[]): Promise<unknown> {
  const plane = await withMount(
    'stratafs',
    stack,
    mountpoint,
    async (client, mounted) => {
      await client.must('open', 0, 'a/b/f0', RDONLY, 0);
      expect(await client.must('read', 0, 0, 2)).toEqual(['2', '\0\0']);
      const stats = await statsOf(mounted);
      expect('backings' in stats).toBe(stats['data'] === 'passthrough');
      return stats['data'];
    },
    [...OPTIONS, ...more],
  );
  rmSync(top, { recursive: true });
  return plane;
}

describe.skipIf(!has(NEEDS))('data=auto', () => {
  test('passes large files through that are only read', async () => {
    expect(await planeOf(await filesOf(LARGE))).toBe('passthrough');
    expect(await planeOf(await filesOf(2 * LARGE, LARGE, 5, 5))).toBe('passthrough');
    expect(await planeOf(await filesOf(LARGE), 'writeback=1')).toBe('passthrough');
  });

  test('caches where most files are smaller, and what can be written', async () => {
    expect(await planeOf(await filesOf(LARGE - 1))).toBe('cached');
    expect(await planeOf(await filesOf(5, 9 * LARGE, 5))).toBe('cached');
    const fixture = await filesOf(LARGE);
    const at = (name: string): string => makeDir(join(fixture.top, name));
    const stack = { ...fixture.stack, upper: at('upper'), work: at('work') };
    expect(await planeOf({ ...fixture, stack })).toBe('cached');
    expect(await planeOf(await filesOf(...Array<number>(1001).fill(5), LARGE))).toBe('cached');
  });

  test.skipIf(!has({ ...NEEDS, kernelOverlay: true }))('caches what lies on a union', async () => {
    const { stack, top, mountpoint } = await filesOf(LARGE);
    const below = makeDir(join(top, 'below'));
    await withMount('kernel', stack, below, async () => {
      const plane = await withMount(
        'stratafs',
        { lowers: [below] },
        mountpoint,
        async (_, mounted) => (await statsOf(mounted))['data'],
        OPTIONS,
      );
      expect(plane).toBe('cached');
    });
    rmSync(top, { recursive: true });
  });

  test.skipIf(!has({ namespaces: true }))(
    'caches in a user namespace, where passthrough is not allowed',
    async () => {
      const { stack, top, mountpoint } = await filesOf(LARGE);
      const binary = stratafsBinary();
      const script = `${binary} -o lowerdir=${stack.lowers.join(':')},data=auto ${mountpoint} &&
      ${binary} stats ${mountpoint} --json && umount ${mountpoint}`;
      const { stdout } = await mustRun('unshare', ['-Urm', 'sh', '-c', script]);
      expect((JSON.parse(stdout) as { data: string }).data).toBe('cached');
      rmSync(top, { recursive: true });
    },
  );
});
