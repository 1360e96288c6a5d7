import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { DRIVER, MOUNT_NEEDS, makeFixture, mounting, withFixture } from '../support/fixture.js';
import { withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { differences, dir, file, manifest, manifestOf, symlink } from '../support/tree.js';

const LOWERS = [
  [dir('d'), file('d/one', 'one')],
  [dir('d'), file('d/two', 'two'), file('f', 'text', { mode: 0o666 }), symlink('l', 'f')],
];

/** Every way to change something. */
const CHANGES: readonly (readonly [string, ...(string | number)[]])[] = [
  ['open', 0, 'f', 2, 0],
  ['open', 0, 'f', 1, 0],
  ['open', 0, 'f', 0o1000, 0],
  ['open', 0, 'new', 0o102, 0o644],
  ['open', 0, 'd', 0o20200002, 0o644],
  ['mkdir', 'new', 0o755],
  ['rmdir', 'd'],
  ['unlink', 'f'],
  ['unlink', 'd/two'],
  ['rename', 'f', 'g', 0],
  ['rename', 'd', 'e', 0],
  ['link', 'f', 'g'],
  ['symlink', 'f', 'new'],
  ['mknod', 'new', 0o010644, 0, 0],
  ['chmod', 'f', 0o600],
  ['chown', 'f', 1, 1],
  ['chown', 'l', 1, 1],
  ['utimens', 'f', 1, 1, 1, 1],
  ['truncate', 'f', 1],
  ['setxattr', 'f', 'user.a', '1', 0],
  ['removexattr', 'f', 'user.a'],
];

async function expectErofs(client: Client): Promise<void> {
  for (const [name, ...words] of CHANGES)
    expect([name, ...words, await client.errno(name, ...words)]).toEqual([name, ...words, 'EROFS']);
}

describe.skipIf(!has({ ...MOUNT_NEEDS, kernelOverlay: true }))('a read-only mount', () => {
  test('answers EROFS to every change without an upper', () =>
    withFixture('readonly', { lowers: LOWERS, upper: false }, async (client) => {
      await client.must('open', 0, 'd/two', 0, 0);
      expect(await client.must('read', 0, 0, 10)).toEqual(['3', 'two']);
      await expectErofs(client);
    }));

  test('shows what kernel overlayfs shows', async () => {
    const { stack, mountpoint } = await makeFixture('readonly', { lowers: LOWERS, upper: false });
    const ours = await withMount(DRIVER, stack, mountpoint, (client) => manifest(client));
    const kernel = await withMount('kernel', stack, mountpoint, (client) => manifest(client));
    expect(differences(ours, kernel, (_, field) => field === 'd_ino')).toEqual([]);
  });

  test('changes nothing in an upper that is mounted with ro', async () => {
    const fixture = await makeFixture('readonly', { lowers: LOWERS, upper: [file('u', 'upper')] });
    const before = await manifestOf(fixture.stack.upper ?? '');
    await mounting(
      fixture,
      async (client) => {
        await client.must('lstat', 'u');
        await expectErofs(client);
        expect(await client.errno('unlink', 'u')).toBe('EROFS');
      },
      ['ro'],
    );
    const private_ = (_: string, field: string): boolean => field.startsWith('x:trusted.overlay.');
    expect(differences(before, await manifestOf(fixture.stack.upper ?? ''), private_)).toEqual([]);
  });
});
