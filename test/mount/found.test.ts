/** Faults that foreign suites and fuzzers found, each with its cause. STRATAFS_DRIVER=kernel proves the expectations. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MOUNT_NEEDS, makeFixture, mounting, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { dir, file, hardlink } from '../support/tree.js';

const REDIRECTS = ['redirect_dir=on', 'metacopy=on'];

describe.skipIf(!has(MOUNT_NEEDS))('found by others', () => {
  // The last *known* name became an orphan; a further one, looked up later, was moved onto that
  // orphan: the same inode, so rename(2) did nothing and said so with 0.
  test('names of an upper hard link that were not looked up before can be removed one by one', () => {
    const upper = [dir('d'), file('d/f', 'x'), hardlink('d/g', 'd/f'), hardlink('d/h', 'd/f')];
    return withFixture('links', { lowers: [[]], upper }, async (client) => {
      await client.must('unlink', 'd/f');
      await client.must('unlink', 'd/g');
      expect(await client.must('readdir', 'd')).toEqual(['h', '8']);
      expect((await client.must('lstat', 'd/h'))[1]).toBe('1');
      await client.must('mknod', 'new', 0o100644, 0, 0);
      await client.must('rename', 'new', 'd/h', 0);
      await client.must('unlink', 'd/h');
      await client.must('rmdir', 'd');
    });
  });

  // A component of an absolute redirect has a redirect of its own, and that layer has no more of
  // the path: the layers below were asked for the old one.
  test('a directory moved out of a moved directory keeps what lies two layers down', async () => {
    const bottom = await makeFixture('redirects', {
      lowers: [[dir('d'), dir('d/pop'), file('d/pop/b'), dir('e')]],
    });
    await mounting(bottom, (client) => client.must('rename', 'd', 'e/d', 0), REDIRECTS);
    const stack = {
      lowers: [bottom.stack.upper ?? '', ...bottom.stack.lowers],
      upper: join(bottom.top, 'upper2'),
      work: join(bottom.top, 'work2'),
    };
    for (const path of [stack.upper, stack.work]) mkdirSync(path);
    const top = { ...bottom, stack };
    await mounting(top, (client) => client.must('rename', 'e/d/pop', 'e/pop', 0), REDIRECTS);
    const seen = await mounting(top, (client) => client.must('readdir', 'e/pop'), REDIRECTS);
    expect(seen).toEqual(['b', '8']);
  });

  test('chown(-1, -1) clears the set-user-ID bit', () =>
    withFixture('suid', { lowers: [[file('suid', 'x', { mode: 0o4755 })]] }, async (client) => {
      await client.must('chown', 'suid', -1, -1);
      expect((await client.must('lstat', 'suid'))[0]).toBe('100755');
    }));
});
