/** What the comparison with kernel overlayfs cannot reach: one behaviour of the mount each. */
import { readdirSync, statSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DRIVER, MOUNT_NEEDS, makeFixture, mounting, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { mustRun } from '../support/run.js';
import { dir, file, manifest, manifestOf } from '../support/tree.js';

const RDWR = 2;
const CREAT = 0o100;
const DIRECT = 0o40000;
const NOATIME = 0x80;
const IMMUTABLE = 0x10;
const GIB = 2 ** 30;
const NAME = ['\xff\xfe\x80', 'new\nline', 'tab\tspace "quote"', '%41=,', 'n'.repeat(255)];

const LOWERS = [
  [file('low', 'lower', { mtime: [1_000_000_000, 5] }), dir('d'), file('d/x', 'x')],
  [dir('d'), file('d/y', 'y')],
];
const PARTS = { lowers: LOWERS, upper: [file('up', 'upper')] };

const ours = DRIVER === 'stratafs';

describe.skipIf(!has(MOUNT_NEEDS))('operations on a mount', () => {
  test('file flags are read of every layer and written to the upper', () =>
    withFixture('opcodes', PARTS, async (client) => {
      for (const path of ['low', 'up']) {
        await client.must('open', 0, path, 0, 0);
        const [flags = ''] = await client.must('getflags', 0);
        expect(Number(flags) & NOATIME).toBe(0);
        await client.must('setflags', 0, Number(flags) | NOATIME);
        expect(Number((await client.must('getflags', 0))[0]) & NOATIME).toBe(NOATIME);
      }
      await client.must('open', 1, 'd', 0, 0);
      await client.must('getflags', 1);
    }));

  test('an immutable file cannot be changed or removed until it is mutable again', () =>
    withFixture('opcodes', PARTS, async (client) => {
      await client.must('open', 0, 'up', 0, 0);
      const [flags = ''] = await client.must('getflags', 0);
      await client.must('setflags', 0, Number(flags) | IMMUTABLE);
      try {
        expect(await client.errno('unlink', 'up')).toBe('EPERM');
        expect(await client.errno('chmod', 'up', 0o600)).toBe('EPERM');
      } finally {
        await client.must('setflags', 0, Number(flags));
      }
      await client.must('unlink', 'up');
    }));

  test('an unknown ioctl answers ENOTTY', () =>
    withFixture('opcodes', PARTS, async (client) => {
      await client.must('open', 0, 'up', 0, 0);
      expect(await client.errno('ioctl', 0, 0x5401)).toBe('ENOTTY');
    }));

  test('statx tells the time of birth, which copy-up and changes leave behind them', () =>
    withFixture('opcodes', PARTS, async (client) => {
      const born = async (path: string): Promise<number> => {
        const [known, btime = '0'] = await client.must('statx', path);
        expect(known).toBe('1');
        return Number(btime);
      };
      expect(await born('low')).toBeGreaterThan(1_700_000_000);
      await client.must('open', 0, 'made', RDWR | CREAT, 0o644);
      const made = await born('made');
      await client.must('write', 0, 0, 'later');
      expect(await born('made')).toBe(made);
    }));

  test('statfs is that of the upper, with names of 255 bytes', () =>
    withFixture('opcodes', PARTS, async (client, _, { stack }) => {
      const [bsize, blocks, files, namelen] = await client.must('statfs', '.');
      const upper = statfsSync(stack.upper ?? '');
      expect([bsize, blocks, files, namelen].map(Number)).toEqual([
        upper.bsize,
        upper.blocks,
        upper.files,
        255,
      ]);
    }));

  test('a name is any bytes, on the mount and in the upper', async () => {
    const fixture = await makeFixture('opcodes', { lowers: [NAME.map((n) => file(n, n))] });
    const seen = await mounting(
      fixture,
      async (client) => {
        for (const name of NAME) {
          await client.must('chmod', name, 0o600);
          await client.must('mkdir', `${name.slice(0, 254)}D`, 0o755);
          await client.must('rename', name, `${name.slice(0, 254)}D/${name}`, 0);
        }
        expect(await client.errno('mkdir', 'x'.repeat(256), 0o755)).toBe('ENAMETOOLONG');
        return manifest(client);
      },
      ours ? ['metacopy=off'] : [],
    );
    const upper = await manifestOf(fixture.stack.upper ?? '');
    for (const name of NAME) {
      const path = `${name.slice(0, 254)}D/${name}`;
      expect(seen.get(path)?.get('mode')).toBe('100600');
      expect(upper.get(path)?.get('mode')).toBe('100600');
    }
  });

  test('st_ino stays over copy-up, rename and remount', async () => {
    const fixture = await makeFixture('opcodes', PARTS);
    const inodes = (
      client: { must: (...a: [string, string]) => Promise<string[]> },
      names: string[],
    ) => Promise.all(names.map(async (name) => (await client.must('lstat', name))[7]));
    const before = await mounting(fixture, async (client) => {
      const first = await inodes(client, ['low', 'd', 'd/y', 'up']);
      for (const path of ['low', 'd', 'd/y', 'up']) await client.must('chmod', path, 0o700);
      expect(await inodes(client, ['low', 'd', 'd/y', 'up'])).toEqual(first);
      await client.must('rename', 'low', 'd/low', 0);
      expect(await inodes(client, ['d/low', 'd', 'd/y', 'up'])).toEqual(first);
      return first;
    });
    await mounting(fixture, async (client) => {
      expect(await inodes(client, ['d/low', 'd', 'd/y', 'up'])).toEqual(before);
    });
  });

  test('the mtime that stat shows after a write is the one in the upper', async () => {
    const fixture = await makeFixture('opcodes', PARTS);
    const seen = await mounting(fixture, async (client) => {
      await client.must('open', 0, 'low', RDWR, 0);
      await client.must('write', 0, 0, 'written');
      await client.must('open', 1, 'up', RDWR, 0);
      await client.must('write', 1, 0, 'written');
      await client.must('futimens', 1, 5, 6, 7, 8);
      await client.must('close', 0);
      await client.must('close', 1);
      return manifest(client);
    });
    const upper = await manifestOf(fixture.stack.upper ?? '');
    for (const path of ['low', 'up'])
      for (const field of ['mtime', 'ns', 'data', 'size'])
        expect([path, field, upper.get(path)?.get(field)]).toEqual([
          path,
          field,
          seen.get(path)?.get(field),
        ]);
    expect([seen.get('up')?.get('mtime'), seen.get('up')?.get('ns')]).toEqual(['7', '8']);
  });

  test('after fsync the bytes are in the upper, while the file is still open', () =>
    withFixture('opcodes', PARTS, async (client, _, { stack }) => {
      for (const path of ['low', 'up', 'made']) {
        await client.must('open', 0, path, RDWR | CREAT, 0o644);
        await client.must('write', 0, 0, `synced ${path}`);
        await client.must('fsync', 0);
        const { stdout } = await mustRun('cat', [join(stack.upper ?? '', path)]);
        expect(stdout).toBe(`synced ${path}`);
      }
    }));

  test('removed files that are open cost no name, and their workdir is empty afterwards', () =>
    withFixture('opcodes', PARTS, async (client, _, { stack }) => {
      for (let slot = 0; slot < 40; slot++) {
        await client.must('open', slot, `t${slot}`, RDWR | CREAT, 0o644);
        await client.must('write', slot, 0, `text ${slot}`);
        await client.must('unlink', `t${slot}`);
      }
      for (let slot = 0; slot < 40; slot++)
        expect((await client.must('read', slot, 0, 20))[1]).toBe(`text ${slot}`);
      expect((await client.must('readdir', '.')).filter((name) => name.startsWith('t'))).toEqual(
        [],
      );
      for (let slot = 0; slot < 40; slot++) await client.must('close', slot);
      await client.must('dropcaches');
      await expect
        .poll(() => readdirSync(join(stack.work ?? '', 'work')), { timeout: 5000 })
        .toEqual([]);
    }));

  test('O_DIRECT reads and writes the same bytes', () =>
    withFixture('opcodes', PARTS, async (client) => {
      await client.must('open', 0, 'f', RDWR | CREAT, 0o644);
      await client.must('fill', 0, 0, 16384, 3);
      await client.must('open', 1, 'f', DIRECT, 0);
      expect(await client.must('read', 1, 4096, 4096)).toEqual(
        await client.must('read', 0, 4096, 4096),
      );
    }));

  test('offsets beyond 4 GiB are exact, and copy-up keeps a file sparse', async () => {
    const fixture = await makeFixture('opcodes', {
      lowers: [[file('far', { size: 5000, seed: 1, hole: 5 * GIB })]],
    });
    await mounting(fixture, async (client) => {
      await client.must('open', 0, 'far', RDWR, 0);
      const data = await client.must('read', 0, 5 * GIB, 5000);
      await client.must('write', 0, 6 * GIB + 1, 'end');
      await client.must('fsync', 0);
      expect(await client.must('read', 0, 5 * GIB, 5000)).toEqual(data);
      expect(await client.must('read', 0, 6 * GIB + 1, 10)).toEqual(['3', 'end']);
      expect((await client.must('fstat', 0))[5]).toBe(String(6 * GIB + 4));
      await client.must('ftruncate', 0, 7 * GIB);
      expect((await client.must('lstat', 'far'))[5]).toBe(String(7 * GIB));
    });
    const upper = statSync(join(fixture.stack.upper ?? '', 'far'));
    expect(upper.size).toBe(7 * GIB);
    expect(upper.blocks * 512).toBeLessThan(1 << 20);
  });

  test('forgotten inodes come back as they were', () =>
    withFixture('opcodes', PARTS, async (client) => {
      await client.must('mkdir', 'many', 0o755);
      await client.must('many', 'many/f', 0, 3000);
      for (let round = 0; round < 3; round++) {
        await client.must('dropcaches');
        await client.must('chmod', `many/f${round}`, 0o600);
        expect((await client.must('lstat', `many/f${round}`))[0]).toBe('100600');
        expect((await client.must('readdir', 'many')).length).toBe(2 * 3000);
      }
    }));

  test.runIf(ours)('clients see none of the private xattrs', async () => {
    const fixture = await makeFixture('opcodes', PARTS);
    await mounting(fixture, async (client) => {
      await client.must('chmod', 'd/y', 0o600);
      await client.must('unlink', 'd/x');
      await client.must('rmdir', 'd').catch(() => undefined);
      for (const path of ['d', 'd/y', '.'])
        for (const name of await client.must('listxattr', path))
          expect(name).not.toMatch(/\.overlay\./);
      expect(await client.errno('getxattr', 'd', 'trusted.overlay.impure')).toBe('ENODATA');
      expect(await client.errno('getxattr', 'd/y', 'trusted.overlay.origin')).toBe('ENODATA');
    });
  });
});
