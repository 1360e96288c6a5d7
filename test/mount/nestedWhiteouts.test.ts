/** Whiteouts that clients make, for an overlay above: objects of the union, which hide nothing in it. */
import { describe, expect, test } from 'vitest';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Client } from '../support/client.js';
import { makeFixture, MOUNT_NEEDS, mounting, withFixture } from '../support/fixture.js';
import { type Stack, withMount } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { makeDir } from '../support/place.js';
import { mustRun } from '../support/run.js';
import { dir, type Entry, file, hardlink, manifestOf, whiteout } from '../support/tree.js';

const CHR = 0o020000;
const MARK = 'trusted.overlay.overlay.whiteout';
const [NOREPLACE, EXCHANGE, WHITEOUT] = [1, 2, 4];
/** What lstat begins with: mode, links, owner, group, device number. */
const OBJECT = ['20000', '1', '0', '0', '0'];

const LOWER = [
  file('low', 'low'),
  file('low2', 'low2'),
  file('covered', 'x'),
  dir('d'),
  file('d/in', 'in'),
];
const PARTS = { lowers: [LOWER], upper: [file('up', 'up'), whiteout('covered')] };

/** A client's whiteout as a layer has it. */
const marked = (path: string): Entry => ({
  ...{ kind: 'node', type: 'char', path, major: 0, minor: 1, mode: 0 },
  xattrs: { [MARK]: 'y' },
});

const seen = async (client: Client, path: string): Promise<string[]> =>
  (await client.must('lstat', path)).slice(0, 5);

/** name → d_type. */
async function listing(client: Client, path = '.'): Promise<Map<string, string>> {
  const words = await client.must('readdir', path);
  return new Map(
    words.flatMap((word, i) => (i % 2 === 0 ? [[word, words[i + 1] ?? ''] as const] : [])),
  );
}

/** rdev and marks of each character device in a directory. */
async function devices(at: string): Promise<Record<string, string>> {
  const all = [...(await manifestOf(at))].filter(([, fields]) => fields.get('mode')?.length === 5);
  const chars = all.filter(([, fields]) => fields.get('mode')?.startsWith('2') === true);
  return Object.fromEntries(
    chars.map(([path, fields]) => [
      path,
      `${fields.get('rdev') ?? ''}${fields.has(`x:${MARK}`) ? ' marked' : ''}`,
    ]),
  );
}

describe.skipIf(!has(MOUNT_NEEDS))('a whiteout that a client makes', () => {
  test('is a 0:0 device, for good, and hides nothing', () =>
    withFixture('nested', PARTS, async (client, _, { stack }) => {
      await client.must('ident', 5, 6);
      expect(await client.errno('mknod', 'theirs', CHR | 0o640, 0, 0)).toBe('EACCES');
      await client.must('ident', 0, 0);
      await client.must('chmod', '.', 0o777);
      await client.must('ident', 5, 6);
      // The kernel asks for no capability (is_whiteout in do_mknodat).
      await client.must('mknod', 'theirs', CHR | 0o640, 0, 0);
      await client.must('ident', 0, 0);
      expect(await seen(client, 'theirs')).toEqual(['20640', '1', '5', '6', '0']);
      await client.must('unlink', 'low');
      for (const name of ['new', 'low', 'covered']) {
        await client.must('mknod', name, CHR, 0, 0);
        expect([name, await seen(client, name)]).toEqual([name, OBJECT]);
        expect((await listing(client)).get(name)).toBe('2');
      }
      for (const taken of ['low2', 'up', 'd', 'new']) {
        expect([taken, await client.errno('mknod', taken, CHR, 0, 0)]).toEqual([taken, 'EEXIST']);
      }
      expect(await devices(stack.upper ?? '')).toEqual({
        ...{ theirs: '1 marked', new: '1 marked', low: '1 marked', covered: '1 marked' },
      });
      await client.must('unlink', 'low');
      expect(await client.errno('lstat', 'low')).toBe('ENOENT');
    }));

  test('keeps its mark from clients', () =>
    withFixture('nested', PARTS, async (client) => {
      await client.must('mknod', 'w', CHR, 0, 0);
      await client.must('mknod', 'device', CHR, 0, 1);
      const key = 'trusted.overlay.whiteout';
      for (const path of ['w', 'device']) {
        expect(await client.must('listxattr', path)).toEqual([]);
        expect(await client.errno('getxattr', path, key)).toBe('ENODATA');
        expect(await client.errno('setxattr', path, key, 'y', 0)).toBe('EPERM');
        expect(await client.errno('removexattr', path, key)).toBe('EPERM');
      }
      await client.must('setxattr', 'w', 'trusted.other', 'z', 0);
      expect(await client.must('listxattr', 'w')).toEqual(['trusted.other']);
      expect((await seen(client, 'device')).at(4)).toBe('1');
      // Of a file it is an xattr like any.
      await client.must('setxattr', 'up', key, 'y', 0);
      expect(await client.must('listxattr', 'up')).toEqual([key]);
    }));

  test('is changed, linked, moved and removed like any device, and mounted again', async () => {
    const fixture = await makeFixture('nested', PARTS);
    await mounting(fixture, async (client) => {
      for (const name of ['a', 'b', 'c']) await client.must('mknod', name, CHR, 0, 0);
      await client.must('chmod', 'a', 0o600);
      await client.must('chown', 'a', 7, 8);
      await client.must('link', 'a', 'd/a2');
      await client.must('rename', 'b', 'low', 0);
      await client.must('rename', 'c', 'd', EXCHANGE);
      await client.must('unlink', 'a');
    });
    await mounting(fixture, async (client) => {
      expect(Object.fromEntries(await listing(client))).toEqual({
        ...{ c: '4', d: '2', low: '2', low2: '8', up: '8' },
      });
      expect(await seen(client, 'c/a2')).toEqual(['20600', '1', '7', '8', '0']);
      for (const path of ['d', 'low']) expect(await seen(client, path)).toEqual(OBJECT);
    });
    rmSync(fixture.top, { recursive: true });
  });

  for (const index of ['on', 'off']) {
    test(`in a lower it is shown, copied up and covered (index=${index})`, () => {
      const lower = [
        dir('d'),
        marked('d/w'),
        marked('one'),
        hardlink('two', 'one'),
        marked('kept'),
      ];
      const parts = { lowers: [lower, [file('kept', 'below')]] };
      return withFixture(
        'nested',
        parts,
        async (client, _, { stack }) => {
          for (const path of ['d/w', 'kept']) expect(await seen(client, path)).toEqual(OBJECT);
          expect((await listing(client, 'd')).get('w')).toBe('2');
          await client.must('chmod', 'd/w', 0o600);
          expect((await seen(client, 'd/w'))[0]).toBe('20600');
          await client.must('chown', 'one', 3, 4);
          const both =
            index === 'on' ? ['20000', '2', '3', '4', '0'] : ['20000', '1', '3', '4', '0'];
          expect(await seen(client, 'one')).toEqual(both);
          expect(await seen(client, 'two')).toEqual(
            index === 'on' ? both : ['20000', '2', '0', '0', '0'],
          );
          await client.must('unlink', 'kept');
          expect(await client.errno('lstat', 'kept')).toBe('ENOENT');
          expect(await devices(stack.upper ?? '')).toMatchObject({
            ...{ 'd/w': '1 marked', one: '1 marked', kept: '0' },
          });
        },
        [`index=${index}`],
      );
    });
  }

  test('is added for diff, and a device 0:1 for kernel overlayfs', async () => {
    const fixture = await makeFixture('nested', PARTS);
    const { stack, mountpoint, top } = fixture;
    await mounting(fixture, async (client) => {
      await client.must('mknod', 'w', CHR, 0, 0);
      await client.must('mknod', 'd/w', CHR, 0, 0);
      const diff = await mustRun(stratafsBinary(), ['diff', mountpoint]);
      const lines = ['A /d/w', 'A /up', 'A /w', 'C /d', 'D /covered'];
      expect(diff.stdout.trim().split('\n').toSorted()).toEqual(lines);
    });
    await withMount('kernel', stack, mountpoint, async (client) => {
      expect(await seen(client, 'w')).toEqual(['20000', '1', '0', '0', '1']);
      await client.must('rename', 'w', 'moved', 0);
    });
    // As its lower, copied up by it: the mark comes along.
    const above: Stack = {
      lowers: [stack.upper ?? '', ...stack.lowers],
      upper: makeDir(join(top, 'upper2')),
      work: makeDir(join(top, 'work2')),
    };
    await withMount('kernel', above, mountpoint, (client) => client.must('chmod', 'd/w', 0o400));
    await withMount('stratafs', above, mountpoint, async (client) => {
      expect(await seen(client, 'd/w')).toEqual(['20400', '1', '0', '0', '0']);
      expect(await seen(client, 'moved')).toEqual(OBJECT);
    });
    rmSync(top, { recursive: true });
  });

  test('is refused where owner and type are told by an xattr', () =>
    Promise.all(
      ['1', '2'].map((level) =>
        withFixture(
          `nested${level}`,
          PARTS,
          async (client) => {
            expect(await client.errno('mknod', 'w', CHR, 0, 0)).toBe('EPERM');
            expect(await client.errno('rename', 'low', 'l', WHITEOUT)).toBe('EINVAL');
            expect([...(await listing(client)).keys()]).toEqual(['d', 'low', 'low2', 'up']);
          },
          [`xattr_permissions=${level}`],
        ),
      ),
    ));
});

describe.skipIf(!has(MOUNT_NEEDS))('RENAME_WHITEOUT', () => {
  test('leaves one, over all kinds of names', async () => {
    const fixture = await makeFixture('nested', PARTS);
    const expected = { low2: '2', low: '2', up: '8', d: '2', dir: '4', made: '2', covered: '2' };
    await mounting(fixture, async (client) => {
      await client.must('chmod', '.', 0o777);
      await client.must('ident', 5, 6);
      await client.must('rename', 'low', 'covered', WHITEOUT);
      expect(await seen(client, 'low')).toEqual(['20000', '1', '5', '6', '0']);
      await client.must('ident', 0, 0);
      await client.must('rename', 'd', 'dir', WHITEOUT);
      expect(await client.errno('rename', 'up', 'low2', WHITEOUT | NOREPLACE)).toBe('EEXIST');
      expect(await client.errno('rename', 'up', 'low2', WHITEOUT | EXCHANGE)).toBe('EINVAL');
      await client.must('rename', 'up', 'made', WHITEOUT | NOREPLACE);
      await client.must('rename', 'low2', 'up', WHITEOUT);
      // What it left can itself be moved so.
      await client.must('rename', 'low2', 'made', WHITEOUT);
      await client.must('rename', 'covered', 'made', WHITEOUT);
      await client.must('rename', 'made', 'covered', WHITEOUT);
      expect(Object.fromEntries(await listing(client))).toEqual({ ...expected, covered: '8' });
      for (const path of ['low', 'low2', 'd', 'made']) {
        expect((await seen(client, path)).toSpliced(2, 2)).toEqual(['20000', '1', '0']);
      }
    });
    await mounting(fixture, async (client) => {
      expect(Object.fromEntries(await listing(client))).toEqual({ ...expected, covered: '8' });
      expect(await client.must('readdir', 'dir')).toEqual(['in', '8']);
      for (const path of ['low', 'low2', 'd', 'made']) {
        expect((await seen(client, path)).toSpliced(2, 2)).toEqual(['20000', '1', '0']);
      }
    });
    rmSync(fixture.top, { recursive: true });
  });

  test('fails without a trace', () =>
    withFixture(
      'nested',
      { ...PARTS, lowers: [[...LOWER, dir('full'), file('full/x')]] },
      async (client, _, { stack }) => {
        const before = [...(await listing(client)).entries()];
        for (const [from, to, errno] of [
          ['low', 'd', 'EISDIR'],
          ['d', 'low', 'ENOTDIR'],
          ['d', 'full', 'ENOTEMPTY'],
          ['none', 'low', 'ENOENT'],
          ['d', 'd/in', 'EINVAL'],
        ] as const) {
          expect([from, await client.errno('rename', from, to, WHITEOUT)]).toEqual([from, errno]);
        }
        expect([...(await listing(client)).entries()]).toEqual(before);
        expect(await devices(stack.upper ?? '')).toEqual({ covered: '0' });
        expect(await devices(join(stack.work ?? '', 'work'))).toEqual({});
      },
    ));
});

test.skipIf(!has({ ...MOUNT_NEEDS, programs: ['gcc', 'setpriv'], mountNamespaces: true }))(
  'is refused where device nodes are',
  async () => {
    const { top, stack, mountpoint } = await makeFixture('nested', PARTS);
    const source = join(import.meta.dirname, '../support/refuseMknod.c');
    await mustRun('gcc', ['-O1', '-Wall', '-Werror', '-o', join(top, 'refuse'), source]);
    const options = `lowerdir=${stack.lowers.join(':')},upperdir=${stack.upper ?? ''},workdir=${stack.work ?? ''}`;
    const script = `cd ${top}; ./refuse ${stratafsBinary()} -o ${options} ${mountpoint} || exit 9
    mknod mnt/w c 0 0; echo $?; ls mnt; umount mnt`;
    const env = { ...process.env, STRATAFS_GRACE: '0' };
    const ran = await mustRun('unshare', ['-m', 'bash', '-c', script], { env });
    expect(ran.stdout).toBe('1\nd\nlow\nlow2\nup\n');
    rmSync(top, { recursive: true });
  },
);
