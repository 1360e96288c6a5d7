/**
 * Uppers in a store of podman, buildah or Docker (format=plain): other drivers, to which the tools of such a
 * store fall back, see the same tree; and what fuse-overlayfs has left in one is read.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { MOUNT_NEEDS } from '../support/fixture.js';
import { type Driver, type Stack, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { mustRun, run, scratch } from '../support/run.js';
import {
  build,
  differences,
  dir,
  type Entry,
  file,
  hardlink,
  type Manifest,
  manifest,
  symlink,
} from '../support/tree.js';

const MIB = 1 << 20;
const LOWER: readonly Entry[] = [
  file('mode', 'mode'),
  file('h1', 'linked'),
  hardlink('h2', 'h1'),
  dir('tree', { mode: 0o750, uid: 7 }),
  file('tree/f', 'f', { mode: 0o640, uid: 7, gid: 8, xattrs: { 'user.note': 'v' } }),
  file('tree/gone'),
  file('tree/big', { size: 3 * MIB, seed: 1, hole: MIB }),
  symlink('tree/l', 'f'),
  dir('tree/sub'),
  ...Array.from({ length: 300 }, (_, i) => file(`tree/sub/${i}`, String(i))),
  dir('tree/sub/deep'),
  file('tree/sub/deep/x', 'x'),
  dir('other'),
  file('other/o', 'o'),
];

/** STORE/ID/diff, as containers/storage and Docker lay a layer out. */
interface Store {
  readonly top: string;
  readonly stack: Stack & { readonly upper: string };
  readonly mountpoint: string;
}

async function makeStore(lower: readonly Entry[] = LOWER): Promise<Store> {
  const top = scratch('store');
  const at = (...names: string[]): string => {
    const path = join(top, ...names);
    mkdirSync(path, { recursive: true });
    return path;
  };
  const lowers = [at('base', 'diff')];
  await build(lowers[0] ?? '', lower);
  const upper = at('ctr', 'diff');
  writeFileSync(join(top, 'ctr', 'link'), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ');
  symlinkSync('../ctr/diff', join(at('l'), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'));
  return {
    top,
    stack: { lowers, upper, work: at('ctr', 'work') },
    mountpoint: at('ctr', 'merged'),
  };
}

async function withStore(body: (store: Store) => Promise<void>, lower = LOWER): Promise<void> {
  const store = await makeStore(lower);
  try {
    await body(store);
  } finally {
    rmSync(store.top, { recursive: true, force: true });
  }
}

async function change(client: Client): Promise<void> {
  await client.must('chmod', 'mode', 0o600);
  await client.must('chmod', 'h1', 0o600);
  await client.must('unlink', 'tree/gone');
  await client.must('rename', 'tree', 'moved', 0);
  await client.must('rename', 'moved/sub', 'sub', 0);
  await client.must('unlink', 'sub/7');
  await client.must('mkdir', 'tree', 0o700);
  await client.must('rename', 'other', 'moved/other', 0);
}

const see = (driver: Driver, { stack, mountpoint }: Store): Promise<Manifest> =>
  withMount(driver, stack, mountpoint, (client) => manifest(client), []);

function marks(path: string): string[] {
  const dump = execFileSync('getfattr', ['-R', '-h', '-d', '-m', 'overlay', '.'], {
    encoding: 'latin1',
    cwd: path,
  });
  return [...new Set([...dump.matchAll(/^(\w+\.overlay\.\w+)/gm)].map(([, key]) => key))];
}

const NEEDS = {
  ...MOUNT_NEEDS,
  kernelOverlay: true,
  programs: ['gcc', 'getfattr', 'fuse-overlayfs', 'setfattr'],
};

describe.skipIf(!has(NEEDS))('an upper in a store of an engine', () => {
  test('holds no marks that other drivers do not know, and all see the same tree', () =>
    withStore(async (store) => {
      const { stack, mountpoint } = store;
      const seen = await withMount('stratafs', stack, mountpoint, async (client) => {
        await change(client);
        return manifest(client);
      });
      expect(seen.size).toBeGreaterThan(300);
      expect(seen.get('moved/f')?.get('uid')).toBe('7');
      const found = marks(stack.upper).filter((key) => !/\.(opaque|origin|impure)$/.test(key));
      expect(found).toEqual([]);
      const root = await run('getfattr', ['-d', '-m', '.', stack.upper]);
      expect(root.stdout).not.toMatch(/origin|redirect|metacopy|index/);
      // d_ino and the grouping of links are each driver's own.
      const ignore = (_: string, field: string): boolean =>
        ['d_ino', 'link', 'nlink', 'ino'].includes(field) ||
        field.startsWith('x:user.fuseoverlayfs');
      for (const driver of ['kernel', 'fuse-overlayfs', 'stratafs'] as const) {
        const other = await see(driver, store);
        expect([driver, ...differences(seen, other, ignore)]).toEqual([driver]);
      }
    }));

  test('has all marks when the options ask for them', () =>
    withStore(async ({ stack, mountpoint }) => {
      await withMount(
        'stratafs',
        stack,
        mountpoint,
        (client) => client.must('rename', 'tree', 'moved', 0),
        ['format=overlay'],
      );
      expect(marks(stack.upper)).toContain('trusted.overlay.redirect');
    }));

  test('is asked for anywhere by format=plain, which excludes what it leaves out', () =>
    withStore(async ({ top, stack, mountpoint }) => {
      const elsewhere = { lowers: stack.lowers, upper: join(top, 'u'), work: join(top, 'w') };
      for (const path of [elsewhere.upper, elsewhere.work]) mkdirSync(path);
      await withMount('stratafs', elsewhere, mountpoint, change, ['format=plain']);
      const found = marks(elsewhere.upper).filter((key) => !/\.(opaque|origin|impure)$/.test(key));
      expect(found).toEqual([]);
      await expect(
        withMount('stratafs', elsewhere, mountpoint, change, ['format=plain', 'metacopy=on']),
      ).rejects.toThrow(/metacopy.*format=plain/);
    }));

  test('that is renamed into while others work does not keep them waiting', () =>
    withStore(async ({ stack, mountpoint }) => {
      await withMount('stratafs', stack, mountpoint, async (client, mounted) => {
        const other = await mounted.client();
        const moved = client.must('rename', 'tree', 'moved', 0);
        for (let i = 0; i < 20; i++) await other.must('lstat', `other/o`);
        await moved;
        expect(await other.errno('lstat', 'tree')).toBe('ENOENT');
        await other.must('lstat', 'moved/sub/deep/x');
      });
    }));

  test('that fuse-overlayfs wrote is read, as root', () =>
    withStore(async (store) => {
      const { stack, mountpoint } = store;
      await withMount('fuse-overlayfs', stack, mountpoint, async (client) => {
        await client.must('unlink', 'tree/gone');
        await client.must('unlink', 'other/o');
        await client.must('rmdir', 'other');
        await client.must('mkdir', 'other', 0o755);
        await client.must('open', 0, 'other/new', 0o101, 0o644);
        await client.must('close', 0);
      });
      const seen = await withMount('stratafs', stack, mountpoint, async (client) => ({
        other: await client.must('readdir', 'other'),
        gone: await client.errno('lstat', 'tree/gone'),
        junk: await client.errno('lstat', 'other/.wh..wh..opq'),
      }));
      expect(seen.other.filter((word) => !/^\d+$/.test(word))).toEqual(['new']);
      expect([seen.gone, seen.junk]).toEqual(['ENOENT', 'ENOENT']);
    }));

  test('that fuse-overlayfs wrote without privilege is read', () =>
    withStore(async ({ stack, mountpoint }) => {
      // What it leaves where it may not write trusted xattrs.
      const other = join(stack.upper, 'other');
      mkdirSync(other);
      writeFileSync(join(other, 'new'), '');
      await mustRun('setfattr', ['-n', 'user.fuseoverlayfs.opaque', '-v', 'y', other]);
      await withMount('stratafs', stack, mountpoint, async (client) => {
        expect((await client.must('readdir', 'other'))[0]).toBe('new');
        expect(await client.errno('lstat', 'other/o')).toBe('ENOENT');
        expect(await client.must('listxattr', 'other')).toEqual([]);
        expect(await client.errno('setxattr', 'moved', 'user.fuseoverlayfs.opaque', 'y', 0)).toBe(
          'ENOENT',
        );
        expect(await client.errno('setxattr', 'tree', 'user.fuseoverlayfs.opaque', 'y', 0)).toBe(
          'EPERM',
        );
      });
    }));
});
