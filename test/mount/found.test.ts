/**
 * Faults that foreign suites and fuzzers found, each with its cause. STRATAFS_DRIVER=kernel
 * proves the expectations.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { DRIVER, MOUNT_NEEDS, makeFixture, mounting, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { dir, type Entry, file, hardlink, opaque } from '../support/tree.js';
import { O } from '../differential/operations.js';

const CAPABILITY = '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0';
const BAD = { 'trusted.overlay.redirect': '..' };
/** The forms in which the kernel sends a change that says nothing. */
const SENDERS = ['writeback=1', 'writeback=0', 'data=passthrough'];
const REDIRECTS = ['redirect_dir=on', 'metacopy=on'];

describe.skipIf(!has({ ...MOUNT_NEEDS, programs: ['gcc', 'setfattr'] }))('found by others', () => {
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

  // The kernel still held the data when the capabilities were set; its later WRITE took them away.
  test('capabilities set before the data is on its way stay, and go with the next write', () =>
    withFixture('capable', { lowers: [[file('f', 'x')]] }, async (client) => {
      const has = (): Promise<string> => client.errno('getxattr', 'f', 'security.capability');
      await client.must('open', 0, 'f', O.RDWR, 0);
      await client.must('fill', 0, 0, 50_000, 1);
      await client.must('setxattr', 'f', 'security.capability', CAPABILITY, 0);
      await client.must('fsync', 0);
      expect(await has()).toBe('ok');
      await client.must('write', 0, 0, 'later');
      expect(await has()).toBe('ENODATA');
      await client.must('fsync', 0);
      expect(await has()).toBe('ENODATA');
    }));

  // xfstests overlay/038.
  test('a directory that has no copies any more loses its impure mark when it is listed', async () => {
    const fixture = await makeFixture('impure', {
      lowers: [[file('copied'), file('too')]],
      upper: [dir('d'), dir('e'), file('e/own')],
    });
    const { upper = '' } = fixture.stack;
    const marked = (): string[] =>
      ['d', 'e'].filter((name) => {
        const args = ['--absolute-names', '-m', '^trusted.overlay.impure', join(upper, name)];
        return execFileSync('getfattr', args).length > 0;
      });
    await mounting(fixture, async (client) => {
      await client.must('rename', 'copied', 'd/f', 0);
      await client.must('rename', 'too', 'e/f', 0);
      for (const path of ['d', 'e']) await client.must('readdir', path);
      expect(marked()).toEqual(['d', 'e']);
      for (const path of ['d', 'e']) await client.must('unlink', `${path}/f`);
      await client.must('readdir', 'd');
      expect(marked()).toEqual(['e']);
    });
    await mounting(fixture, (client) => client.must('readdir', 'e'));
    expect(marked()).toEqual([]);
    rmSync(fixture.top, { recursive: true });
  });

  // xfstests overlay/049 and 059: programs take them for one file. Kernel overlayfs answers ESTALE for the second.
  test.skipIf(DRIVER === 'kernel')('copies of copies have numbers of their own', async () => {
    const fixture = await makeFixture('copies-of', {
      lowers: [[file('f', 'f'), dir('d'), file('d/in', 'in')]],
    });
    await mounting(
      fixture,
      async (client) => {
        await client.must('rename', 'f', 'f1', 0);
        await client.must('rename', 'd', 'd1', 0);
        await client.must('chmod', 'd1/in', 0o600);
      },
      REDIRECTS,
    );
    const upper = fixture.stack.upper ?? '';
    for (const name of ['f', 'd']) {
      execFileSync('cp', ['-a', join(upper, `${name}1`), join(upper, `${name}2`)]);
    }
    const numbers = await mounting(
      fixture,
      async (client) => {
        const found: string[] = [];
        for (const path of ['f1', 'f2', 'd1', 'd2', 'd1/in', 'd2/in', 'f1', 'd1/in']) {
          found.push(execFileSync('stat', ['-c', '%i', join(fixture.mountpoint, path)]).toString());
        }
        await client.must('readdir', '.');
        return found;
      },
      REDIRECTS,
    );
    expect(new Set(numbers).size).toBe(6);
    expect(numbers.slice(6)).toEqual([numbers[0], numbers[4]]);
    rmSync(fixture.top, { recursive: true });
  });

  test('removing an ACL that is not there is what the upper says', () =>
    withFixture('acl', { lowers: [[file('lower')]], upper: [file('upper')] }, async (client) => {
      const remove = (path: string): Promise<string> =>
        client.errno('removexattr', path, 'system.posix_acl_access');
      expect([await remove('upper'), await remove('lower')]).toEqual(['ok', 'ENODATA']);
    }));

  test('the bare prefix of the marks is no xattr', () =>
    withFixture('prefix', { lowers: [[file('f')]] }, async (client) => {
      const key = 'trusted.overlay.';
      expect(await client.errno('setxattr', 'f', key, 'v', 0)).toBe('EINVAL');
      expect(await client.errno('getxattr', 'f', key)).toBe('EINVAL');
      expect(await client.errno('removexattr', 'f', key)).toBe('EINVAL');
      expect(await client.errno('setxattr', 'f', `${key}a`, 'v', 0)).toBe('ok');
    }));

  // A layer's root announces them for all of the layer.
  test('a whiteout xattr counts in a directory without a mark', async () => {
    const white = { xattrs: { 'trusted.overlay.whiteout': '' } };
    const parts = {
      lowers: [
        [dir('d'), file('d/w', '', white), file('d/f')],
        [dir('d'), file('d/w', 'below')],
      ],
      upper: [dir('u'), file('u/w', '', white), file('u/f')],
    };
    const fixture = await makeFixture('white', parts);
    for (const root of [fixture.stack.lowers[0] ?? '', fixture.stack.upper ?? '']) {
      execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'x', root]);
    }
    await mounting(fixture, async (client) => {
      for (const at of ['d', 'u']) {
        expect(await client.errno('lstat', `${at}/w`)).toBe('ENOENT');
        expect(await client.must('readdir', at)).toContain('f');
        expect(await client.errno('lstat', `${at}/w`)).toBe('ENOENT');
        await client.must('mknod', `${at}/w`, 0o100644, 0, 0);
        expect((await client.must('lstat', `${at}/w`))[0]).toBe('100644');
        await client.must('unlink', `${at}/w`);
        expect(await client.errno('lstat', `${at}/w`)).toBe('ENOENT');
      }
    });
    rmSync(fixture.top, { recursive: true, force: true });
  });

  test('an entry that cannot be looked up is listed', () =>
    withFixture(
      'listed',
      { lowers: [[dir('d'), file('f')]], upper: [dir('d', { xattrs: BAD })] },
      async (client) => {
        expect(await client.must('readdir', '.')).toEqual(['d', '4', 'f', '8']);
        expect(await client.errno('lstat', 'd')).toBe('EACCES');
      },
    ));

  // Without the writeback cache the request says nothing at all, as does that of a write to a file
  // with capabilities, which leaves root's set-ID bits.
  test.each(SENDERS)('chown(-1, -1) clears set-ID bits, a write of root does not: %s', (option) => {
    const files = [
      file('suid', 'x', { mode: 0o4755 }),
      file('both', 'x', { mode: 0o6777 }),
      file('group', 'x', { mode: 0o2644, gid: 5 }),
      file('capable', 'x', { mode: 0o6755, xattrs: { 'security.capability': CAPABILITY } }),
    ];
    const inU = (entry: Entry): Entry => ({ ...entry, path: `u/${entry.path}` });
    const after = ['100755', '100777', '102644'];
    const stack = { lowers: [files], upper: [dir('u'), ...files.map(inU)] };
    const body = async (client: Client): Promise<void> => {
      for (const path of ['capable', 'u/capable']) {
        await client.must('open', 0, path, O.WRONLY, 0);
        await client.must('write', 0, 0, 'new');
        await client.must('close', 0);
        expect((await client.must('lstat', path))[0]).toBe('106755');
        // The write took the capability away; from here on the file is like any.
        await client.must('chown', path, -1, -1);
        expect((await client.must('lstat', path))[0]).toBe('100755');
      }
      for (const at of ['', 'u/']) {
        const modes: (string | undefined)[] = [];
        for (const name of ['suid', 'both', 'group']) {
          await client.must('chown', at + name, -1, -1);
          modes.push((await client.must('lstat', at + name))[0]);
        }
        expect(modes).toEqual(after);
      }
    };
    return withFixture('suid', stack, body, DRIVER === 'stratafs' ? [option] : []);
  });
});
