/** Layers that are too much of something: depth, entries, xattrs. Slow is allowed, endless is not. */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client } from '../support/client.js';
import { makeFixture, mounting } from '../support/fixture.js';
import { mountStack } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';
import { build, dir, file } from '../support/tree.js';

const DEPTH = 1000;
const ENTRIES = 200_000;
/** What the engine may keep for one entry that was listed, its name included. */
const BYTES_EACH = 600;
const XATTR_MAX = 65_536;

/** Resident memory of the host that serves `path`, in bytes. */
async function memoryOf(path: string): Promise<number> {
  const ran = await mustRun(stratafsBinary(), ['mounts', '--json']);
  const all = JSON.parse(ran.stdout) as { mountpoint: string; pid: number }[];
  const pid = all.find(({ mountpoint }) => mountpoint === path)?.pid ?? -1;
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/VmRSS:\s*(\d+)/.exec(status)?.[1]) * 1024;
}

const path = (depth: number): string => Array.from({ length: depth }, () => 'd').join('/');

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, programs: ['gcc'] }))(
  'layers of great size',
  () => {
    test(`${DEPTH} directories in each other are changed, moved and removed`, async () => {
      const entries = Array.from({ length: DEPTH }, (_, i) => dir(path(i + 1)));
      const bottom = `${path(DEPTH)}/f`;
      const fixture = await makeFixture('deep', { lowers: [[...entries, file(bottom, 'x')]] });
      await mounting(fixture, async (client) => {
        await client.must('lstat', bottom);
        await client.must('forget');
        await client.must('chmod', bottom, 0o600);
        await client.must('rename', 'd', 'e', 0);
        await client.must('forget');
        expect((await client.must('lstat', bottom.replace('d', 'e')))[0]).toBe('100600');
      });
      await mounting(fixture, async (client, { path: at }) => {
        expect((await client.must('lstat', bottom.replace('d', 'e')))[0]).toBe('100600');
        await mustRun('rm', ['-rf', join(at, 'e')], { timeoutMs: 60_000 });
        expect(await client.must('readdir', '.')).toEqual([]);
      });
      rmSync(fixture.top, { recursive: true });
    });

    test(`${ENTRIES} entries of one directory are listed and found in bounded memory`, async () => {
      const fixture = await makeFixture('wide', { lowers: [[dir('d')]] });
      const builder = await Client.start(join(fixture.stack.lowers[0] ?? '', 'd'));
      for (let from = 0; from < ENTRIES; from += 20_000)
        await builder.must('many', 'entry', from, from + 20_000);
      await builder.close();
      await mounting(fixture, async (client, { path: at }) => {
        await client.must('lstat', 'd');
        const before = await memoryOf(at);
        const listed = await mustRun(
          'sh',
          ['-c', 'ls -f d | wc -l; find d -name "entry1????" -size 0 | wc -l'],
          {
            cwd: at,
            timeoutMs: 100_000,
          },
        );
        expect(listed.stdout.trim().split(/\s+/)).toEqual([String(ENTRIES + 2), '10000']);
        await client.must('unlink', 'd/entry77777');
        await client.must('lstat', 'd/entry99999');
        expect(await client.errno('lstat', 'd/entry77777')).toBe('ENOENT');
        const grown = (await memoryOf(at)) - before;
        expect(grown).toBeLessThan(ENTRIES * BYTES_EACH);
      });
      rmSync(fixture.top, { recursive: true });
    });

    test('xattrs of 64 KiB are shown and copied up', async () => {
      const top = scratch('xattrs');
      await mustRun('mount', ['-t', 'tmpfs', 'tmpfs', top]);
      try {
        const at = (name: string): string => join(top, name);
        for (const name of ['low', 'up', 'work', 'mnt']) mkdirSync(at(name));
        const value = '\xff'.repeat(XATTR_MAX);
        await build(at('low'), [
          file('f', 'x', { xattrs: { 'trusted.big': value } }),
          dir('d', { xattrs: { 'trusted.overlay.opaque': value } }),
          dir('r', { xattrs: { 'trusted.overlay.redirect': value } }),
        ]);
        const stack = { lowers: [at('low')], upper: at('up'), work: at('work') };
        const mounted = await mountStack('stratafs', stack, at('mnt'));
        try {
          const client = await mounted.client();
          const size = async (): Promise<string> =>
            (await client.must('getxattr', 'f', 'trusted.big', XATTR_MAX))[0] ?? '';
          expect(await size()).toBe(String(XATTR_MAX));
          await client.must('chmod', 'f', 0o600);
          expect(await size()).toBe(String(XATTR_MAX));
          await client.must('readdir', '.');
          await client.must('readdir', 'd');
          await client.errno('readdir', 'r');
          await client.errno('rename', 'r', 'd', 0);
        } finally {
          await mounted.unmount();
        }
      } finally {
        await mustRun('umount', ['-l', top]);
      }
    });
  },
);
