/** st_blocks of a metadata-only copy are those of its data, whichever request asks first. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DRIVER, makeFixture, MOUNT_NEEDS, mounting } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { mustRun } from '../support/run.js';
import { file } from '../support/tree.js';

const MIB = 1 << 20;
const OPTIONS = ['redirect_dir=on,metacopy=on'];

describe.skipIf(!has(MOUNT_NEEDS))(`st_blocks of a metadata-only copy, by ${DRIVER}`, () => {
  /** By stat(1), which asks for no more than the kernel may remember. */
  const blocks = async (path: string): Promise<number> =>
    Number((await mustRun('stat', ['-c', '%b', path])).stdout);

  const asked = {
    'a lookup': async () => Promise.resolve(),
    'a listing': async (path: string) => {
      await mustRun('ls', ['-l', path]);
    },
  };
  test.each(Object.entries(asked))('%s', async (_, ask) => {
    const data = { size: MIB, seed: 1 };
    const fixture = await makeFixture('blocks', {
      lowers: [[file('f', data)], [file('hole', { size: MIB, seed: 1, hole: MIB })]],
    });
    const { stack, mountpoint } = fixture;
    const wanted = statSync(join(stack.lowers[0] ?? '', 'f')).blocks;
    const sparse = statSync(join(stack.lowers[1] ?? '', 'hole')).blocks;
    expect(wanted).toBeGreaterThan(2000);
    await mounting(
      fixture,
      async (client) => {
        await client.must('chmod', 'f', 0o600);
        await client.must('chmod', 'hole', 0o600);
      },
      OPTIONS,
    );
    expect(statSync(join(stack.upper ?? '', 'f')).blocks).toBeLessThan(100);
    const seen = async (): Promise<void> => {
      await ask(mountpoint);
      expect(await blocks(join(mountpoint, 'f'))).toBe(wanted);
      expect(await blocks(join(mountpoint, 'hole'))).toBe(sparse);
    };
    await mounting(fixture, seen, OPTIONS);
    // And when the copy lies in a lower.
    const above = await makeFixture('blocks', { lowers: [[]] });
    const lowers = [stack.upper ?? '', ...stack.lowers];
    const again = { ...above, stack: { ...above.stack, lowers }, mountpoint };
    await mounting(again, seen, OPTIONS);
  });
});
