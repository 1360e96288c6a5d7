/**
 * Layers that mean harm, or that change under the engine: nothing outside of them is ever shown or
 * changed, no request hangs, and the host goes on. What kernel overlayfs makes of hostile marks is
 * compared in test/differential/hostile.test.ts.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { O } from '../differential/operations.js';
import type { Client } from '../support/client.js';
import { type Fixture, makeFixture, mounting, type Parts } from '../support/fixture.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun } from '../support/run.js';
import { device, dir, type Entry, fifo, file, symlink } from '../support/tree.js';

const SECRET = 'the canary';

/** The host that serves the mount at `path`. */
async function hostOf(path: string): Promise<number> {
  const ran = await mustRun(stratafsBinary(), ['mounts', '--json']);
  const all = JSON.parse(ran.stdout) as { mountpoint: string; pid: number }[];
  return all.find(({ mountpoint }) => mountpoint === path)?.pid ?? -1;
}

/**
 * Mounts, runs `body`, and then: `outside`, a directory beside the layers with a canary in it, is as
 * it was, and the host is the one that it was.
 */
async function survives(
  name: string,
  parts: Parts,
  body: (client: Client, fixture: Fixture) => Promise<void>,
): Promise<void> {
  const fixture = await makeFixture(name, parts);
  const outside = join(fixture.top, 'outside');
  mkdirSync(join(outside, 'inside'), { recursive: true });
  writeFileSync(join(outside, 'secret'), SECRET, { mode: 0o600 });
  const shown = (): string =>
    execFileSync('find', [outside, '-printf', '%P %m %u %s %T@ %C@\n'], { encoding: 'latin1' });
  const before = shown();
  try {
    await mounting(fixture, async (client) => {
      const host = await hostOf(fixture.mountpoint);
      expect(host).toBeGreaterThan(0);
      await body(client, fixture);
      await client.must('ident', 0, 0);
      await client.must('readdir', '.');
      expect(await hostOf(fixture.mountpoint)).toBe(host);
    });
    expect(shown()).toBe(before);
    expect(readFileSync(join(outside, 'secret'), 'latin1')).toBe(SECRET);
  } finally {
    rmSync(fixture.top, { recursive: true, force: true });
  }
}

/** Asks everything of a path that must not lead out; nothing answers with the canary. */
async function probe(client: Client, path: string): Promise<void> {
  for (const name of [`${path}/secret`, `${path}/inside/x`, path]) {
    const opened = await client.errno('open', 0, name, O.RDONLY | O.NONBLOCK | O.NOFOLLOW, 0);
    if (opened === 'ok') expect(await client.call('read', 0, 0, 100)).not.toEqual([SECRET]);
    await client.errno('close', 0);
  }
  const listed = await client.call('readdir', path);
  expect(listed.errno === undefined ? listed.words.join(' ') : '').not.toContain('secret');
}

/** What a client can do to a node of any kind without opening it, and opening it without waiting. */
async function handle(client: Client, path: string): Promise<void> {
  await client.must('lstat', path);
  await client.errno('open', 0, path, O.RDONLY | O.NONBLOCK, 0);
  await client.errno('open', 0, path, O.WRONLY | O.NONBLOCK, 0);
  await client.errno('close', 0);
  await client.must('listxattr', path);
  await client.must('chmod', path, 0o600);
  await client.must('chown', path, 1, 1);
  await client.must('utimens', path, 1, 1, 1, 1);
  await client.must('setxattr', path, 'trusted.x', '1', 0);
  await client.must('link', path, `${path}-link`);
  await client.must('rename', path, `${path}-moved`, 0);
  await client.must('unlink', `${path}-moved`);
  await client.must('unlink', `${path}-link`);
}

const backwards = (name: string): string =>
  Buffer.from(name, 'latin1').reverse().toString('latin1');

const DOT_NAMES = [
  '.wh.',
  '.wh..',
  '.wh...',
  '.wh..wh.',
  '.wh..wh..',
  '.wh..wh.aufs',
  '.wh..wh..opq.',
];

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, programs: ['gcc'] }))(
  'hostile layers',
  () => {
    test('a directory of a layer that becomes a symlink leads nowhere', () =>
      survives(
        'swapped',
        { lowers: [[dir('d'), dir('d/inside'), file('d/inside/x', 'x'), file('d/f', 'f')], []] },
        async (client, { stack, top }) => {
          await client.must('readdir', 'd');
          await client.must('lstat', 'd/inside/x');
          // Kept in use: the kernel goes on taking it for a directory, and does not follow the symlink.
          await client.must('open', 1, 'd', O.RDONLY | O.DIRECTORY, 0);
          const lower = join(stack.lowers[0] ?? '', 'd');
          renameSync(lower, `${lower}-away`);
          symlinkSync(join(top, 'outside'), lower);
          await client.must('forget');
          await probe(client, 'd');
          await client.errno('mkdir', 'd/new', 0o755);
          await client.errno('chmod', 'd/inside', 0o700);
          await client.errno('unlink', 'd/secret');
          await client.errno('rename', 'd', 'e', 0);
          await probe(client, 'e');
        },
      ));

    test('a file of a layer that becomes a pipe or a symlink is not waited for', () =>
      survives(
        'became',
        { lowers: [[file('a', 'was a file'), file('b', 'was a file')]] },
        async (client, { stack, top }) => {
          for (const name of ['a', 'b']) await client.must('lstat', name);
          const at = (name: string): string => join(stack.lowers[0] ?? '', name);
          for (const name of ['a', 'b']) rmSync(at(name));
          execFileSync('mkfifo', [at('a')]);
          symlinkSync(join(top, 'outside/secret'), at('b'));
          for (const name of ['a', 'b']) {
            await client.errno('open', 0, name, O.RDWR | O.NONBLOCK, 0);
            const read = await client.call('read', 0, 0, 100);
            expect(read.errno === undefined ? read.words.join(' ') : '').not.toContain('canary');
            await client.errno('write', 0, 0, 'x');
            await client.errno('chmod', name, 0o666);
            await client.errno('close', 0);
          }
        },
      ));

    test('symlinks of every layer are shown and never followed', () => {
      const links: Entry[] = [
        symlink('up', '../outside'),
        symlink('root', '/'),
        symlink('loop', 'loop'),
        symlink('long', 'x/'.repeat(2047)),
      ];
      const real = ['up', 'root', 'loop', 'long'].flatMap((name) => [
        dir(name),
        file(`${name}/below`, 'x'),
      ]);
      return survives('links', { lowers: [links, real] }, async (client) => {
        for (const name of ['up', 'root', 'loop', 'long']) {
          expect((await client.must('lstat', name))[0]).toMatch(/^12/);
          await client.must('chown', name, 1, 1);
          await client.must('rename', name, `${name}2`, 0);
          await client.must('unlink', `${name}2`);
          expect(await client.errno('lstat', `${name}/below`)).toBe('ENOENT');
        }
      });
    });

    test('pipes, sockets and devices are never opened by the engine', () => {
      const kinds = (prefix: string): Entry[] => [
        fifo(`${prefix}pipe`),
        device(`${prefix}null`, 1, 3),
        // No driver answers to it: an open fails, or waits for hardware.
        device(`${prefix}tape`, 9, 200),
        { kind: 'node', type: 'block', path: `${prefix}disk`, major: 259, minor: 999 },
        { kind: 'node', type: 'socket', path: `${prefix}socket`, major: 0, minor: 0 },
      ];
      const names = ['pipe', 'null', 'tape', 'disk', 'socket'];
      return survives(
        'kinds',
        { lowers: [[], kinds('l-')], upper: kinds('u-') },
        async (client) => {
          for (const name of names) {
            await handle(client, `l-${name}`);
            await handle(client, `u-${name}`);
          }
          expect(await client.must('readdir', '.')).toEqual([]);
        },
      );
    });

    test('`.wh.` names of every kind hide their name at most', () => {
      const marks: Entry[] = [
        ...DOT_NAMES.map((name) => file(name)),
        dir('.wh.a'),
        file('.wh.a/.wh.b'),
        symlink('.wh.b', '../outside'),
        fifo('.wh.c'),
        device('.wh.d', 1, 3),
        file(`.wh.${'e'.repeat(251)}`),
        dir('sub'),
        dir('sub/.wh..wh..opq'),
        file('sub/.wh..'),
      ];
      const seen = ['a', 'b', 'c', 'd', 'e'.repeat(251), 'f'];
      const bottom = [...seen.map((name) => file(name, name)), dir('sub'), file('sub/below')];
      return survives('dots', { lowers: [marks, bottom] }, async (client) => {
        expect(await client.must('readdir', '.')).toEqual(['f', '8', 'sub', '4']);
        expect(await client.must('readdir', 'sub')).toEqual([]);
        for (const name of [...seen.slice(0, -1), ...DOT_NAMES, '.wh.a', 'sub/.wh..'])
          expect(await client.errno('lstat', name), name).toBe('ENOENT');
        await client.must('rename', 'sub', 'a', 0);
        await client.must('rmdir', 'a');
        await client.must('unlink', 'f');
        expect(await client.must('readdir', '.')).toEqual([]);
      });
    });

    test('names of 255 bytes are any bytes', () => {
      const names = [1, 2, 3].map((seed) =>
        Array.from({ length: 255 }, (_, i) => {
          const byte = 1 + ((i * 7 + seed * 83) % 255);
          return String.fromCharCode(byte === 0x2f ? 0x2e : byte);
        }).join(''),
      );
      const lower = names.map((name) => file(name, 'x'));
      return survives('names', { lowers: [lower] }, async (client) => {
        const listed = await client.must('readdir', '.');
        expect(listed.filter((_, i) => i % 2 === 0).sort()).toEqual([...names].sort());
        for (const name of names) {
          await client.must('chmod', name, 0o600);
          await client.must('rename', name, backwards(name), 0);
          await client.must('unlink', backwards(name));
        }
        expect(await client.must('readdir', '.')).toEqual([]);
      });
    });

    test('a copy whose size is not that of its data shows its own size', () => {
      const xattrs = { 'trusted.overlay.metacopy': '', 'trusted.overlay.redirect': '/data' };
      const upper = [
        file('short', { size: 1, seed: 1, hole: 2 }, { xattrs }),
        file('long', { size: 1, seed: 1, hole: 99_999 }, { xattrs }),
      ];
      return survives('sizes', { lowers: [[file('data', 'data')]], upper }, async (client) => {
        await client.must('open', 0, 'short', O.RDWR, 0);
        expect(await client.must('read', 0, 0, 100)).toEqual(['3', 'dat']);
        await client.must('open', 1, 'long', O.RDWR, 0);
        expect((await client.must('fstat', 1))[5]).toBe('100000');
        await client.call('read', 1, 0, 200_000);
        for (const slot of [0, 1]) await client.errno('write', slot, 2, 'X');
        for (const slot of [0, 1]) await client.errno('fsync', slot);
      });
    });

    test('directories with one redirect, and one in itself, are several', () => {
      const to = (path: string): { xattrs: Record<string, string> } => ({
        xattrs: { 'trusted.overlay.redirect': path },
      });
      const upper = [
        dir('one', to('/real')),
        dir('two', to('/real')),
        dir('real'),
        dir('real/sub', to('/real')),
      ];
      const lower = [dir('real'), file('real/f', 'f'), dir('real/sub'), file('real/sub/g', 'g')];
      return survives('several', { lowers: [lower], upper }, async (client) => {
        await client.must('unlink', 'one/f');
        expect(await client.must('readdir', 'two')).toEqual(['f', '8', 'sub', '4']);
        expect(await client.must('readdir', 'real/sub/sub')).toEqual(['g', '8']);
        expect(await client.errno('lstat', 'real/sub/sub/sub')).toBe('ENOENT');
        await client.must('rename', 'two/sub', 'one/sub2', 0);
        expect(await client.must('readdir', 'one/sub2')).toEqual(['g', '8']);
      });
    });

    test('a lower that contains the mount point shows what is below it', async () => {
      const fixture = await makeFixture('circular', {
        lowers: [[dir('mnt'), file('mnt/covered', 'x')]],
      });
      const inside = { ...fixture, mountpoint: join(fixture.stack.lowers[0] ?? '', 'mnt') };
      await mounting(inside, async (client) => {
        expect(await client.must('readdir', 'mnt')).toEqual(['covered', '8']);
        await client.must('mkdir', 'mnt/new', 0o755);
        expect(await client.errno('lstat', 'mnt/new/mnt')).toBe('ENOENT');
      });
      rmSync(fixture.top, { recursive: true });
    });
  },
);
