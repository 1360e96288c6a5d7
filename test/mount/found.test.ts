/** Faults that foreign suites and fuzzers found, each with its cause. STRATAFS_DRIVER=kernel proves the expectations. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MOUNT_NEEDS, makeFixture, mounting, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { dir, type Entry, file, hardlink, opaque } from '../support/tree.js';
import { O } from '../differential/operations.js';

const BAD = { 'trusted.overlay.redirect': '..' };
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

  // A copy of a hard link has no origin, so kernel overlayfs does not mark its directory impure: such
  // copies were taken for files of zeros.
  test.each(['the upper', 'a lower'])(
    'a metadata-only copy in %s without origin is one',
    (which) => {
      const marks = { 'trusted.overlay.metacopy': '', 'trusted.overlay.redirect': '/data' };
      const copy = (path: string): Entry =>
        file(path, { size: 1, seed: 1, hole: 3 }, { xattrs: marks });
      const layer = [copy('here'), opaque('new'), dir('new/er'), copy('new/er/there')];
      const bottom = [file('data', 'data'), hardlink('again', 'data'), dir('new')];
      const parts =
        which === 'the upper' ? { lowers: [bottom], upper: layer } : { lowers: [layer, bottom] };
      return withFixture(
        'copies',
        parts,
        async (client) => {
          for (const path of ['here', 'new/er/there']) {
            await client.must('open', 0, path, O.RDONLY, 0);
            expect(await client.must('read', 0, 0, 10), path).toEqual(['4', 'data']);
          }
        },
        REDIRECTS,
      );
    },
  );

  test('removing an ACL that is not there is what the upper says', () =>
    withFixture('acl', { lowers: [[file('lower')]], upper: [file('upper')] }, async (client) => {
      const remove = (path: string): Promise<string> =>
        client.errno('removexattr', path, 'system.posix_acl_access');
      expect([await remove('upper'), await remove('lower')]).toEqual(['ok', 'ENODATA']);
    }));

  test('an entry that cannot be looked up is listed', () =>
    withFixture(
      'listed',
      { lowers: [[dir('d'), file('f')]], upper: [dir('d', { xattrs: BAD })] },
      async (client) => {
        expect(await client.must('readdir', '.')).toEqual(['d', '4', 'f', '8']);
        expect(await client.errno('lstat', 'd')).toBe('EACCES');
      },
    ));

  test('chown(-1, -1) clears the set-user-ID bit', () =>
    withFixture('suid', { lowers: [[file('suid', 'x', { mode: 0o4755 })]] }, async (client) => {
      await client.must('chown', 'suid', -1, -1);
      expect((await client.must('lstat', 'suid'))[0]).toBe('100755');
    }));
});
