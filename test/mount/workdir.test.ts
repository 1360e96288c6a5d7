/** What a crash left in the workdir goes at the next mount; what it was for is untouched. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DRIVER, MOUNT_NEEDS, makeFixture, mounting } from '../support/fixture.js';
import { has } from '../support/needs.js';
import {
  build,
  device,
  dir,
  differences,
  file,
  isPrivateXattr,
  manifest,
  manifestOf,
  symlink,
} from '../support/tree.js';

const PARTS = {
  lowers: [[file('low', 'lower'), dir('d'), file('d/x', 'x')]],
  upper: [file('up', 'upper')],
};

/** Half copies, directories that were being emptied, whiteouts that were not yet in place. */
const JUNK = [
  file('#1a', { size: 9000, seed: 1 }, { mode: 0o600 }),
  dir('#2b', { mode: 0o000 }),
  file('#2b/inside', 'x'),
  dir('#2b/deeper'),
  symlink('#2b/deeper/link', '/etc/passwd'),
  device('#2b/deeper/whiteout', 0, 0),
  device('#3c', 0, 0),
  symlink('#4d', '/etc'),
  file('\xff\xfe', 'no UTF-8'),
];

describe.skipIf(!has(MOUNT_NEEDS))('a workdir after a crash', () => {
  // Kernel overlayfs goes only so deep.
  test.runIf(DRIVER === 'stratafs')('is emptied at the mount, which then works', async () => {
    const fixture = await makeFixture('workdir', PARTS);
    const seen = await mounting(fixture, (client) => manifest(client));
    const work = join(fixture.stack.work ?? '', 'work');
    mkdirSync(work, { recursive: true });
    await build(work, JUNK);
    const again = await mounting(fixture, async (client) => {
      expect(readdirSync(work)).toEqual([]);
      const tree = await manifest(client);
      await client.must('chmod', 'd/x', 0o600);
      await client.must('unlink', 'low');
      return tree;
    });
    expect(differences(seen, again)).toEqual([]);
    expect(existsSync('/etc/passwd')).toBe(true);
  });

  test('is emptied of files that were removed while open when the mount was torn away', async () => {
    const fixture = await makeFixture('workdir', PARTS);
    const work = join(fixture.stack.work ?? '', 'work');
    await mounting(fixture, async (client, mounted) => {
      await client.must('open', 0, 'up', 2, 0);
      await client.must('unlink', 'up');
      mounted.abort();
    });
    await mounting(fixture, async (client) => {
      expect(readdirSync(work)).toEqual([]);
      expect(await client.errno('lstat', 'up')).toBe('ENOENT');
    });
  });

  test.runIf(DRIVER === 'stratafs')('is not touched by mounts without an upper', async () => {
    const fixture = await makeFixture('workdir', PARTS);
    const upper = fixture.stack.upper ?? '';
    const before = await manifestOf(upper);
    const readOnly = { ...fixture, stack: { lowers: [upper, ...fixture.stack.lowers] } };
    await mounting(readOnly, (client) => client.must('lstat', 'up'));
    expect(differences(before, await manifestOf(upper), (_, f) => isPrivateXattr(f))).toEqual([]);
    expect(readdirSync(fixture.stack.work ?? '')).toEqual([]);
  });
});
