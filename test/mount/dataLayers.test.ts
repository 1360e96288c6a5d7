/** Data-only layers: what they show, how they are named, and what a hostile redirect can reach. */
import { mkdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { MOUNT_NEEDS } from '../support/fixture.js';
import { type Driver, featureOptions, type Stack, withMount } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';
import {
  build,
  differences,
  dir,
  type Entry,
  fifo,
  file,
  isPrivateXattr,
  manifest,
  manifestOf,
  symlink,
} from '../support/tree.js';

/** A metadata-only copy of `size` bytes whose data is at `redirect`. */
const metacopy = (path: string, size: number, redirect: string): Entry =>
  file(path, '\0'.repeat(size), {
    mode: 0o751,
    xattrs: { 'trusted.overlay.metacopy': '', 'trusted.overlay.redirect': redirect },
  });

const LOWER: readonly Entry[] = [
  dir('d'),
  metacopy('d/first', 6, '/ab/first'),
  metacopy('d/second', 7, '/cd/second'),
  metacopy('both', 4, '/ab/both'),
  metacopy('merged', 6, '/plain'),
  metacopy('gone', 5, '/no/where'),
  metacopy('relative', 5, 'nowhere'),
  metacopy('link', 6, '/ab/link'),
  metacopy('dir', 6, '/ab'),
  metacopy('fifo', 6, '/ab/fifo'),
  metacopy('through', 6, '/way/first'),
  file('whole', 'whole'),
];
const BOTTOM: readonly Entry[] = [file('plain', 'merged'), dir('d'), file('d/below', 'below')];
const DATA: readonly [readonly Entry[], readonly Entry[]] = [
  [
    dir('ab'),
    file('ab/first', 'first!'),
    file('ab/both', 'here'),
    symlink('ab/link', 'first'),
    fifo('ab/fifo'),
    symlink('way', 'ab'),
  ],
  [dir('ab'), file('ab/both', 'not!'), dir('cd'), file('cd/second', 'second!')],
];

interface Made {
  readonly top: string;
  readonly lowers: readonly string[];
  readonly data: readonly string[];
  readonly stack: (upper?: string) => Stack;
  readonly mnt: string;
}

async function make(): Promise<Made> {
  const top = scratch('data-layers');
  const at = async (name: string, entries: readonly Entry[]): Promise<string> => {
    mkdirSync(join(top, name));
    await build(join(top, name), entries);
    return join(top, name);
  };
  const lowers = [await at('low', LOWER), await at('bottom', BOTTOM)];
  // A colon in the name: only escaped does it stand for itself.
  const data = [await at('data:0', DATA[0]), await at('data1', DATA[1])];
  const mnt = await at('mnt', []);
  const named = [...lowers, ...data.map((path) => `:${path.replace(':', '\\:')}`)];
  const stack = (name?: string): Stack => {
    if (name === undefined) return { lowers: named };
    const [upper, work] = [join(top, name), join(top, `${name}-work`)];
    for (const path of [upper, work]) mkdirSync(path, { recursive: true });
    return { lowers: named, upper, work };
  };
  return { top, lowers, data, stack, mnt };
}

const READABLE = { 'd/first': 'first!', 'd/second': 'second!', both: 'here', merged: 'merged' };
const MISSING = ['gone', 'link', 'dir', 'fifo', 'through'];

/** The text of a file, or the errno of reading it. */
async function text(client: Client, path: string): Promise<string> {
  const opened = await client.call('open', 0, path, 0, 0);
  if (opened.errno !== undefined) return opened.errno;
  const read = await client.call('read', 0, 0, 100);
  await client.must('close', 0);
  return read.errno ?? read.words[1];
}

/** The differences to look for: the drivers number inodes each in its way. */
const ignored = (path: string, field: string): boolean =>
  ['d_ino', 'ino', 'blocks'].includes(field) ||
  isPrivateXattr(field) ||
  (path === '.' && field !== 'mode');

/** Takes away what no whole manifest can read. */
async function removeMissing(client: Client): Promise<void> {
  for (const path of MISSING) await client.must('unlink', path);
}

async function change(client: Client): Promise<void> {
  await client.must('chmod', 'd/first', 0o600);
  await client.must('rename', 'd/first', 'moved', 0);
  await client.must('rename', 'd', 'e', 0);
  await client.must('truncate', 'e/second', 3);
  await client.must('open', 0, 'both', 0o2001, 0);
  await client.must('write', 0, -1, '+');
  await client.must('close', 0);
}

const options = (driver: Driver): readonly string[] => featureOptions(driver, 'full');
const NEEDS = { ...MOUNT_NEEDS, kernelOverlay: true };

describe.skipIf(!has(NEEDS))('data-only layers', () => {
  test('show through metadata-only copies alone, as in kernel overlayfs', async () => {
    const { stack, mnt, top, lowers } = await make();
    // The kernel fails the lookup of this one, so no manifest of its could be made.
    rmSync(join(lowers[0] ?? '', 'relative'));
    const seen = async (driver: Driver): Promise<unknown> =>
      withMount(
        driver,
        stack(driver),
        mnt,
        async (client) => {
          for (const [path, content] of Object.entries(READABLE))
            expect([path, await text(client, path)]).toEqual([path, content]);
          for (const path of [...MISSING, 'd/below'])
            expect([path, await client.errno('lstat', path)]).toEqual([path, 'ok']);
          expect(await client.errno('lstat', 'ab')).toBe('ENOENT');
          await removeMissing(client);
          return manifest(client);
        },
        options(driver),
      );
    const [ours, kernel] = [await seen('stratafs'), await seen('kernel')] as [never, never];
    expect(differences(ours, kernel, ignored)).toEqual([]);
    rmSync(top, { recursive: true });
  });

  // xfstests overlay/088: such layers are named for their data alone, so no redirect of an unprivileged mount matters.
  test('data of a data-only layer is read with userxattr, other copies are refused', async () => {
    const top = scratch('data-user');
    const marks = (redirect: string): Entry =>
      file('f', '\0'.repeat(4), {
        xattrs: { 'user.overlay.metacopy': '', 'user.overlay.redirect': redirect },
      });
    const layers = {
      low: [marks('/data')],
      over: [marks('/below')],
      bottom: [file('below', 'belo')],
      data: [file('data', 'data')],
    };
    for (const [name, entries] of Object.entries(layers)) {
      mkdirSync(join(top, name));
      await build(join(top, name), entries);
    }
    const mnt = join(top, 'mnt');
    mkdirSync(mnt);
    const readIn = (driver: Driver, ...lowers: string[]): Promise<string> => {
      const named = [...lowers.map((name) => join(top, name)), `:${join(top, 'data')}`];
      return withMount(driver, { lowers: named }, mnt, (client) => text(client, 'f'), [
        'userxattr',
      ]);
    };
    for (const driver of ['kernel', 'stratafs'] as const) {
      expect([driver, await readIn(driver, 'low')]).toEqual([driver, 'data']);
      expect([driver, await readIn(driver, 'over', 'bottom')]).toEqual([driver, 'EPERM']);
    }
    rmSync(top, { recursive: true });
  });

  test('a target that no layer has, or that is no file, is EIO for its reader alone', async () => {
    const { stack, mnt, top } = await make();
    await withMount('stratafs', stack('up'), mnt, async (client) => {
      for (const path of MISSING) expect([path, await text(client, path)]).toEqual([path, 'EIO']);
      expect(await client.errno('lstat', 'relative')).toBe('EIO');
      expect(await text(client, 'whole')).toBe('whole');
      // The metadata can change, the data cannot be had.
      expect(await client.errno('chmod', 'gone', 0o600)).toBe('ok');
      expect(await client.errno('truncate', 'gone', 2)).toBe('EIO');
      expect(await client.errno('unlink', 'gone')).toBe('ok');
    });
    rmSync(top, { recursive: true });
  });

  test('each driver goes on with what the other made of them', async () => {
    const { stack, mnt, top, data } = await make();
    const before = await Promise.all(data.map(manifestOf));
    for (const [first, second] of [
      ['stratafs', 'kernel'],
      ['kernel', 'stratafs'],
    ] as const) {
      const shared = stack(`${first}-upper`);
      const left = await withMount(
        first,
        shared,
        mnt,
        async (client) => {
          for (const path of [...MISSING, 'relative']) {
            if (first === 'stratafs') await client.errno('unlink', path);
          }
          if (first === 'kernel') await removeMissing(client);
          await change(client);
          return first === 'stratafs' ? manifest(client) : undefined;
        },
        options(first),
      );
      const right = await withMount(
        second,
        shared,
        mnt,
        async (client) => {
          expect(await text(client, 'moved')).toBe('first!');
          expect(await text(client, 'e/second')).toBe('sec');
          expect(await text(client, 'both')).toBe('here+');
          expect(await text(client, 'e/below')).toBe('below');
          return left === undefined ? undefined : manifest(client);
        },
        options(second),
      );
      if (left && right) expect(differences(left, right, ignored)).toEqual([]);
    }
    expect(await Promise.all(data.map(manifestOf))).toEqual(before);
    rmSync(top, { recursive: true });
  });

  test('are not touched before somebody reads the data', async () => {
    const { stack, mnt, top, data } = await make();
    const [first = ''] = data;
    await withMount('stratafs', stack(), mnt, async (client) => {
      renameSync(join(first, 'ab'), join(first, 'away'));
      await client.must('lstat', 'd/first');
      renameSync(join(first, 'away'), join(first, 'ab'));
      expect(await text(client, 'd/first')).toBe('first!');
    });
    rmSync(top, { recursive: true });
  });

  test('can be given one by one, as lowerdir+ and datadir+, and in a file', async () => {
    const { top, mnt, lowers, data } = await make();
    const each = [
      ...lowers.map((path) => `lowerdir+=${path}`),
      ...data.map((d) => `datadir+=${d}`),
    ];
    writeFileSync(join(top, 'options'), `${each.join('\n')}\n\nro,nodev\n`);
    for (const extra of [each.join(','), `optionsfile=${join(top, 'options')}`]) {
      await mustRun(stratafsBinary(), ['-o', extra, mnt]);
      try {
        expect((await mustRun('cat', [join(mnt, 'd/second')])).stdout).toBe('second!');
      } finally {
        await mustRun('umount', [mnt]);
      }
    }
    rmSync(top, { recursive: true });
  });
});

describe.skipIf(!has(NEEDS))('a metadata-only copy without data-only layers', () => {
  test('is known by its holes where no mark of its directory tells', async () => {
    const { top, mnt, lowers } = await make();
    const [low = '', bottom = ''] = lowers;
    const long = 'long'.repeat(3000);
    writeFileSync(join(bottom, 'long'), long);
    await build(low, [metacopy('long', 0, '/long'), metacopy('lost', 0, '/lost-too')]);
    // More than the block that a file system may take for the marks themselves.
    for (const path of ['long', 'lost']) truncateSync(join(low, path), long.length);
    const stack = { lowers: [low, bottom] };
    await withMount('stratafs', stack, mnt, async (client) => {
      for (const list of [false, true]) {
        if (list) await client.must('readdir', '.');
        expect(await text(client, 'long')).toBe(long.slice(0, 100));
        expect(await client.errno('lstat', 'lost')).toBe('EIO');
      }
    });
    rmSync(top, { recursive: true });
  });

  test.each([
    ['a version to come', '\x01\x04\0\0'],
    ['a flag', '\0\x04\x01\0'],
    ['another length than it says', '\0\x05\0\0'],
    ['too few bytes', '\0\x04'],
    ['too many bytes', `\0\x50\0\x01${'d'.repeat(76)}`],
  ])('is EIO when its mark has %s', async (_, value) => {
    const { top, mnt } = await make();
    const marked = join(top, 'marked');
    mkdirSync(marked);
    const xattrs = { 'trusted.overlay.metacopy': value, 'trusted.overlay.redirect': '/plain' };
    await build(marked, [dir('d', { xattrs: { 'trusted.overlay.impure': 'y' } })]);
    await build(join(marked, 'd'), [file('f', '', { xattrs })]);
    const stack = { lowers: [marked, join(top, 'bottom')] };
    await withMount('stratafs', stack, mnt, async (client) => {
      expect(await client.errno('lstat', 'd/f')).toBe('EIO');
      expect(await text(client, 'd/below')).toBe('below');
    });
    rmSync(top, { recursive: true });
  });
});
