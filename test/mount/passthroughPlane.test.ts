/**
 * data=passthrough besides the copy-up (passthrough.test.ts): what is registered and shared, what it
 * does with the other features, what it can be stacked on, and when it is refused.
 */
import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeFixture } from '../support/fixture.js';
import { type Stack, tryMount, withMount } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { makeDir } from '../support/place.js';
import {
  CREAT,
  NEEDS,
  OPTIONS,
  PAGE,
  RDONLY,
  RDWR,
  READ,
  SHARED,
  TEXT,
  TMPFILE,
  TRUNC,
  WRONLY,
  scene,
  statsOf,
} from '../support/passthrough.js';
import { mustRun, run } from '../support/run.js';
import { dir, type Entry, file, manifestOf } from '../support/tree.js';

describe.skipIf(!has(NEEDS))('passed through files', () => {
  test('are registered once for any number of opens, and read without a request', () =>
    scene(async ({ reader, writer, mounted }) => {
      for (let i = 0; i < 20; i++) {
        const client = i % 2 === 0 ? reader : writer;
        await client.must('open', i, 'f', RDONLY, 0);
        await client.must('read', i, 0, PAGE);
        if (i % 3 === 0) await client.must('close', i);
      }
      const stats = await statsOf(mounted);
      expect(stats).toMatchObject({ opens: 20, open: 13, backings: 1, backingsRegistered: 1 });
      expect(stats['requests']).not.toHaveProperty('READ');
      for (const client of [reader, writer]) {
        for (let i = 0; i < 20; i++) await client.call('close', i);
      }
      // Kept for those who open it again.
      await reader.must('open', 0, 'f', RDONLY, 0);
      expect(await statsOf(mounted)).toMatchObject({ open: 1, backings: 1, backingsRegistered: 1 });
    }));

  test('work without a name: removed, renamed over, made with O_TMPFILE', () =>
    scene(async ({ reader, writer, fixture }) => {
      await reader.must('open', 0, 'new', RDWR | CREAT, 0o644);
      await reader.must('write', 0, 0, 'one');
      await writer.must('unlink', 'new');
      await reader.must('write', 0, 3, 'two');
      await reader.must('reopen', 1, 0, RDWR);
      expect(await reader.must('read', 1, 0, 9)).toEqual(['6', 'onetwo']);
      await reader.must('open', 2, 'up', RDWR, 0);
      await writer.must('rename', 'h1', 'up', 0);
      await reader.must('write', 2, 0, 'orphan');
      expect(await reader.must('read', 2, 0, 7)).toEqual(['7', 'orphanx']);
      await reader.must('open', 3, '.', TMPFILE | RDWR, 0o600);
      await reader.must('write', 3, 0, 'late name');
      await reader.must('linkfd', 3, 'named');
      await writer.must('open', 3, 'named', RDONLY, 0);
      expect(await writer.must('read', 3, 0, 20)).toEqual(['9', 'late name']);
      const upper = await manifestOf(fixture.stack.upper ?? '');
      expect([...upper.keys()].sort()).toContain('named');
    }));
});

const SIZE = 256 * PAGE;

/** Drops a file's pages from memory. */
async function evict(path: string): Promise<void> {
  await mustRun('sync', ['-d', path]);
  await mustRun('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
}

describe.skipIf(!has(NEEDS))('the page cache', () => {
  for (const [data, resident] of [
    ['passthrough', SIZE / PAGE],
    ['cached', 0],
  ] as const)
    test(`of a layer is ${data === 'passthrough' ? 'shared by its mounts' : 'held by each mount'} with data=${data}`, async () => {
      const parts = { lowers: [[file('f', 'x'.repeat(SIZE))]] };
      const fixture = await makeFixture('pages', parts);
      const two = makeDir(join(fixture.top, 'two'));
      await evict(join(fixture.stack.lowers[0] ?? '', 'f'));
      const options = [`data=${data}`];
      const second = { lowers: fixture.stack.lowers };
      await withMount(
        'stratafs',
        fixture.stack,
        fixture.mountpoint,
        async (one) =>
          withMount(
            'stratafs',
            second,
            two,
            async (other) => {
              for (const client of [one, other]) {
                await client.must('open', 0, 'f', RDONLY, 0);
                await client.must('mmap', 0, 0, SIZE, READ, SHARED);
              }
              expect(await other.must('resident', 0, 0)).toEqual(['0']);
              await one.must('read', 0, 0, SIZE);
              expect(await one.must('resident', 0, 0)).toEqual([String(SIZE / PAGE)]);
              expect(await other.must('resident', 0, 0)).toEqual([String(resident)]);
              expect(await other.must('mread', 0, SIZE - 3, 3)).toEqual(['3', 'xxx']);
            },
            options,
          ),
        options,
      );
      rmSync(fixture.top, { recursive: true });
    });
});

describe.skipIf(!has(NEEDS))('passed through, too', () => {
  test('are data-only layers: the backing file of a metadata-only copy is where its data is', async () => {
    const copy = (path: string, redirect: string): Entry =>
      file(path, '\0'.repeat(6), {
        xattrs: { 'trusted.overlay.metacopy': '', 'trusted.overlay.redirect': redirect },
      });
    const parts = {
      lowers: [
        [copy('f', '/store/one'), copy('gone', '/no')],
        [dir('store'), file('store/one', 'first!')],
      ],
    };
    const fixture = await makeFixture('data-only', parts);
    const [lower = '', data = ''] = fixture.stack.lowers;
    const before = await manifestOf(data);
    await withMount(
      'stratafs',
      { ...fixture.stack, lowers: [lower, `:${data}`] },
      fixture.mountpoint,
      async (client, mounted) => {
        expect(await client.errno('open', 0, 'gone', RDONLY, 0)).toBe('EIO');
        await client.must('open', 0, 'f', RDONLY, 0);
        await client.must('open', 1, 'f', RDONLY, 0);
        expect(await client.must('read', 1, 0, 9)).toEqual(['6', 'first!']);
        expect(await statsOf(mounted)).toMatchObject({ backings: 1, backingsRegistered: 1 });
        await client.must('open', 2, 'f', RDWR, 0);
        await client.must('write', 2, 0, 'F');
        expect(await client.must('read', 2, 0, 9)).toEqual(['6', 'First!']);
        expect(await client.must('read', 0, 0, 9)).toEqual(['6', 'first!']);
      },
      OPTIONS,
    );
    expect(await manifestOf(data)).toEqual(before);
    rmSync(fixture.top, { recursive: true });
  });

  test('are mapped owners: what is created belongs to the creator, on disk and as shown', () =>
    scene(
      async ({ writer, fixture }) => {
        await writer.must('chmod', '.', 0o777);
        await writer.must('ident', 100_007, 200_008);
        await writer.must('open', 0, 'new', RDWR | CREAT, 0o6755);
        await writer.must('write', 0, 0, 'data');
        const [, , uid, gid] = await writer.must('fstat', 0);
        expect([uid, gid]).toEqual(['100007', '200008']);
        const there = lstatSync(join(fixture.stack.upper ?? '', 'new'));
        expect([there.uid, there.gid]).toEqual([7, 8]);
        // Written by somebody without CAP_FSETID.
        expect((await writer.must('fstat', 0))[0]).toBe('100755');
        expect(there.mode & 0o7777).toBe(0o755);
      },
      ['uidmapping=:0:100000:65536', 'gidmapping=:0:200000:65536'],
    ));
});

/** A valid security.capability. */
const CAPABILITY =
  '\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00';

describe.skipIf(!has(NEEDS))('what a passed through write or truncation takes away', () => {
  for (const option of ['metacopy=on', 'xattr_permissions=1', 'xattr_permissions=2'])
    test(`is set-id bits and capabilities, ${option}`, () =>
      scene(
        async ({ reader, writer }) => {
          for (const name of ['written', 'cut']) {
            await writer.must('open', 0, name, RDWR | CREAT, 0o6755);
            await writer.must('write', 0, 0, 'text');
            await writer.must('close', 0);
            await writer.must('chown', name, 5, 6);
            await writer.must('chmod', name, 0o6777);
            await writer.must('setxattr', name, 'security.capability', CAPABILITY, 0);
          }
          await reader.must('ident', 15, 16);
          await reader.must('open', 0, 'written', RDWR, 0);
          expect((await reader.must('fstat', 0))[0]).toBe('106777');
          await reader.must('write', 0, 0, 'x');
          await reader.must('open', 1, 'cut', WRONLY | TRUNC, 0);
          for (const name of ['written', 'cut']) {
            expect([name, (await writer.must('lstat', name))[0]]).toEqual([name, '100777']);
            expect([name, await writer.errno('getxattr', name, 'security.capability')]).toEqual([
              name,
              'ENODATA',
            ]);
          }
        },
        [option],
      ));
});

describe.skipIf(!has({ ...NEEDS, kernelOverlay: true }))('stacks', () => {
  async function stacked(
    body: (at: (name: string) => string, base: Stack) => Promise<void>,
  ): Promise<void> {
    const fixture = await makeFixture('stacks', { lowers: [[file('f', TEXT)]] });
    const at = (name: string): string => {
      const path = join(fixture.top, name);
      mkdirSync(path, { recursive: true });
      return path;
    };
    await body(at, fixture.stack);
    rmSync(fixture.top, { recursive: true });
  }
  const fresh = (at: (name: string) => string, name: string, lower: string): Stack => ({
    lowers: [lower],
    upper: at(`upper-${name}`),
    work: at(`work-${name}`),
  });

  test('kernel overlayfs goes on top of a passthrough mount', () =>
    stacked(async (at, base) => {
      const [below, above] = [at('below'), at('above')];
      await withMount(
        'stratafs',
        base,
        below,
        async () => {
          const stack = fresh(at, 'above', below);
          await withMount('kernel', stack, above, async (client) => {
            await client.must('open', 0, 'f', RDWR, 0);
            await client.must('write', 0, 0, 'NEW');
            expect(await client.must('read', 0, 0, 4)).toEqual(['4', 'NEWx']);
          });
        },
        OPTIONS,
      );
    }));

  test('a passthrough mount goes on top of kernel overlayfs, but not of two', () =>
    stacked(async (at, base) => {
      const [one, two, top] = [at('one'), at('two'), at('top')];
      await withMount('kernel', base, one, async () => {
        const onOne = fresh(at, 'top', one);
        await withMount(
          'stratafs',
          onOne,
          top,
          async (client, mounted) => {
            await client.must('open', 0, 'f', RDONLY, 0);
            expect(await client.must('read', 0, 0, 4)).toEqual(['4', 'xxxx']);
            expect((await statsOf(mounted))['backings']).toBe(1);
          },
          OPTIONS,
        );
        await withMount('kernel', fresh(at, 'two', one), two, async () => {
          const seen = await tryMount('stratafs', fresh(at, 'seen', two), top, OPTIONS);
          expect(seen.code).toBe(1);
          expect(seen.stderr).toMatch(/\/two lies on 2 union mounts/);
          // No mount table tells of a layer whose mount was detached: the kernel does.
          await mustRun('umount', ['-l', one]);
          const hidden = await tryMount('stratafs', fresh(at, 'hidden', two), top, OPTIONS);
          expect(hidden.code).toBe(1);
          expect(hidden.stderr).toMatch(/^stratafs: layer \S*\/two lies on .* stacked twice.*\n$/);
        });
      });
    }));
});

describe.skipIf(!has(NEEDS))('data=passthrough is refused', () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    [
      'with writeback=1',
      'data=passthrough,writeback=1',
      /writeback=1 and data=passthrough exclude/,
    ],
    [
      'when it is another word',
      'data=direct',
      /option data takes cached, passthrough, auto, not 'direct'/,
    ],
  ];
  for (const [title, options, says] of cases)
    test(title, async () => {
      const ran = await run(stratafsBinary(), ['-o', `lowerdir=/usr,${options}`, '/mnt']);
      expect([ran.code, ran.stderr.split('\n').length]).toEqual([1, 2]);
      expect(ran.stderr).toMatch(says);
    });

  test.skipIf(!has({ namespaces: true }))('in a user namespace', async () => {
    const command = [stratafsBinary(), '-o', 'lowerdir=/usr,data=passthrough', '/mnt'];
    const ran = await run('unshare', ['-Urm', ...command]);
    expect([ran.code, ran.stderr.split('\n').length]).toEqual([1, 2]);
    expect(ran.stderr).toMatch(
      /data=passthrough needs CAP_SYS_ADMIN in the initial user namespace/,
    );
  });
});
