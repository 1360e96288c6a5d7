/** Whiteouts of every kind over several layers; names as long as there are; `.wh.` names as ordinary ones. */
import { beforeAll, describe, expect, it, test } from 'vitest';
import { readdirSync, rmSync } from 'node:fs';
import type { Client } from '../support/client.js';
import { type Fixture, MOUNT_NEEDS, makeFixture } from '../support/fixture.js';
import { type Driver, featureOptions, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import {
  differences,
  dir,
  type Entry,
  file,
  isPrivateXattr,
  manifest,
  opaque,
  whFile,
  whiteout,
  whOpaque,
} from '../support/tree.js';

const trusted = (mark: string, value: string): Record<string, string> => ({
  [`trusted.overlay.${mark}`]: value,
});
const user = (mark: string, value: string): Record<string, string> => ({
  [`user.overlay.${mark}`]: value,
});

/** What a layer has in directory `at`, over files `n` and `m` and a directory `s` with a file `x`. */
interface Kind {
  readonly name: string;
  readonly layer: (at: string) => readonly Entry[];
  /** What the directory then lists. */
  readonly shows: readonly string[];
}

const xfile = (path: string, xattrs: Record<string, string>): Entry => file(path, '', { xattrs });

const KINDS: readonly Kind[] = [
  { name: 'nothing', layer: (at) => [dir(at)], shows: ['m', 'n', 's', 's/x'] },
  {
    name: '0:0 devices',
    layer: (at) => [dir(at), whiteout(`${at}/n`), whiteout(`${at}/s`)],
    shows: ['m'],
  },
  {
    name: 'xwhiteouts',
    layer: (at) => [
      dir(at, { xattrs: trusted('opaque', 'x') }),
      xfile(`${at}/n`, trusted('whiteout', '')),
      xfile(`${at}/s`, trusted('whiteout', '')),
    ],
    shows: ['m'],
  },
  {
    name: 'xwhiteouts of a user',
    layer: (at) => [
      dir(at, { xattrs: user('opaque', 'x') }),
      xfile(`${at}/n`, user('whiteout', 'y')),
      xfile(`${at}/s`, user('whiteout', '')),
    ],
    shows: ['m'],
  },
  {
    name: '.wh. files',
    layer: (at) => [dir(at), whFile(`${at}/n`), whFile(`${at}/s`)],
    shows: ['m'],
  },
  {
    name: 'all in one directory',
    layer: (at) => [
      dir(at, { xattrs: trusted('opaque', 'x') }),
      xfile(`${at}/n`, trusted('whiteout', '')),
      whiteout(`${at}/s`),
      whFile(`${at}/m`),
    ],
    shows: [],
  },
  { name: 'an opaque mark', layer: (at) => [opaque(at), file(`${at}/n`)], shows: ['n'] },
  {
    name: "a user's opaque mark",
    layer: (at) => [dir(at, { xattrs: user('opaque', 'y') }), file(`${at}/n`)],
    shows: ['n'],
  },
  {
    name: '.wh..wh..opq',
    layer: (at) => [dir(at), whOpaque(at), file(`${at}/n`)],
    shows: ['n'],
  },
  {
    name: 'an opaque directory below',
    layer: (at) => [dir(at), opaque(`${at}/s`), file(`${at}/s/y`)],
    shows: ['m', 'n', 's', 's/y'],
  },
  {
    name: '.wh. beside a directory of that name',
    layer: (at) => [dir(at), whFile(`${at}/s`), dir(`${at}/s`), file(`${at}/s/y`)],
    shows: ['m', 'n', 's', 's/y'],
  },
];

/** Each kind over the bottom; each over each, where the upper one's shows what it hides not. */
const pairs = KINDS.flatMap((top, i) => KINDS.map((low, j) => ({ top, low, at: `k${i}-${j}` })));

/** What shows of `low` below `top`: names that both show, and those that one of them brings. */
function expected(top: Kind, low: Kind): string[] {
  const own = (kind: Kind): string[] =>
    kind
      .layer('a')
      .filter(({ kind: type, path, xattrs = {} }) => {
        const mark = Object.keys(xattrs).some((key) => key.endsWith('.whiteout'));
        return path !== 'a' && type !== 'node' && !mark && !path.includes('.wh.');
      })
      .map(({ path }) => path.slice(2));
  const opened = (kind: Kind, name: string): boolean =>
    ['n', 'm', 's', 's/x'].includes(name) ? kind.shows.includes(name) : !hides(kind, name);
  const below = [...new Set([...low.shows, ...own(low)])];
  return [...new Set([...own(top), ...below.filter((name) => opened(top, name))])].toSorted();
}

/** A layer hides a name that only others have (`s/y`) when it hides all of `s`. */
function hides(kind: Kind, name: string): boolean {
  return name.startsWith('s/') && !kind.shows.includes('s/x');
}

const NEEDS = { ...MOUNT_NEEDS, kernelOverlay: true };

describe.skipIf(!has(NEEDS))('whiteouts of every kind', () => {
  let shown: ReadonlyMap<string, readonly string[]>;

  beforeAll(async () => {
    const bottom = pairs.flatMap(({ at }) => [
      dir(at),
      file(`${at}/n`),
      file(`${at}/m`),
      dir(`${at}/s`),
      file(`${at}/s/x`),
    ]);
    const lowers = [
      pairs.flatMap(({ at, top }) => top.layer(at)),
      pairs.flatMap(({ at, low }) => low.layer(at)),
      bottom,
    ];
    const { stack, mountpoint, top } = await makeFixture('whiteout-kinds', { lowers });
    const paths = await withMount('stratafs', stack, mountpoint, async (client) => [
      ...(await manifest(client)).keys(),
    ]);
    shown = new Map(
      pairs.map(({ at }) => [
        at,
        paths
          .filter((path) => path.startsWith(`${at}/`))
          .map((path) => path.slice(at.length + 1))
          .toSorted(),
      ]),
    );
    rmSync(top, { recursive: true });
  });

  it.each(pairs.map((pair) => [pair.top.name, pair.low.name, pair] as const))(
    '%s over %s',
    (_, __, { at, top, low }) => {
      expect(shown.get(at)).toEqual(expected(top, low));
    },
  );
});

const DRIVERS: readonly Driver[] = ['stratafs', 'kernel'];

function on<T>(driver: Driver, fixture: Fixture, body: (client: Client) => Promise<T>): Promise<T> {
  const options = featureOptions(driver, 'full');
  return withMount(driver, fixture.stack, fixture.mountpoint, body, options);
}

describe.skipIf(!has(NEEDS))('names of 252 to 255 bytes', () => {
  const LENGTHS = [250, 251, 252, 253, 254, 255];
  const long = (letter: string, length: number): string => letter.padEnd(length, 'é');
  const lower = LENGTHS.flatMap((n) => [
    file(long('f', n), 'lower'),
    dir(long('d', n)),
    file(`${long('d', n)}/in`),
    file(long('g', n), 'stays'),
  ]);

  test.each(DRIVERS.flatMap((first) => DRIVERS.map((second) => [first, second] as const)))(
    '%s changes them, and %s shows it',
    async (first, second) => {
      const fixture = await makeFixture('long-names', { lowers: [lower] });
      const before = await on(first, fixture, async (client) => {
        for (const n of LENGTHS) {
          await client.must('unlink', long('f', n));
          await client.must('unlink', `${long('d', n)}/in`);
          await client.must('rmdir', long('d', n));
          await client.must('mkdir', long('f', n), 0o755);
          await client.must('open', 0, long('n', n), 0o102, 0o644);
          await client.must('close', 0);
          await client.must('rename', long('g', n), long('h', n), 0);
          expect(await client.errno('mkdir', 'x'.repeat(256), 0o755)).toBe('ENAMETOOLONG');
        }
        return manifest(client);
      });
      const after = await on(second, fixture, (client) => manifest(client));
      const ignored = (_: string, field: string): boolean =>
        ['ino', 'd_ino'].includes(field) || isPrivateXattr(field);
      expect(differences(before, after, ignored)).toEqual([]);
      expect([...after.keys()]).toHaveLength(1 + 3 * LENGTHS.length);
      rmSync(fixture.top, { recursive: true });
    },
  );
});

describe.skipIf(!has(NEEDS))('a name that begins with .wh.', () => {
  test('is ordinary in the upper, for both drivers', async () => {
    const lowers = [[file('x', 'lower x'), dir('d'), file('d/y', 'lower y')]];
    const fixture = await makeFixture('dot-names', { lowers });
    await on('stratafs', fixture, async (client) => {
      for (const name of ['.wh.x', '.wh..wh..opq', 'd/.wh..wh..opq', '.wh.', '.wh.first'])
        await client.must('open', 0, name, 0o102, 0o644);
      await client.must('close', 0);
      await client.must('rename', '.wh.first', 'd/.wh.y', 0);
      await client.must('mkdir', '.wh.dir', 0o755);
      await client.must('link', '.wh.x', '.wh.gone');
      await client.must('unlink', '.wh.gone');
    });
    expect(readdirSync(fixture.stack.upper ?? '').toSorted()).toEqual(
      ['.wh.', '.wh..wh..opq', '.wh.dir', '.wh.x', 'd'].toSorted(),
    );
    const names = ['.wh.', '.wh..wh..opq', '.wh.dir', '.wh.x', 'd', 'd/.wh..wh..opq', 'd/.wh.y'];
    for (const driver of DRIVERS) {
      const seen = await on(driver, fixture, async (client) => [
        ...(await manifest(client)).keys(),
      ]);
      expect(seen.toSorted()).toEqual(['.', ...names, 'd/y', 'x'].toSorted());
    }
    // The same directory as a lower layer: there these names are whiteouts.
    const { upper = '', lowers: below } = fixture.stack;
    const stack = { lowers: [upper, ...below] };
    const seen = await withMount('stratafs', stack, fixture.mountpoint, (client) =>
      manifest(client),
    );
    expect([...seen.keys()].toSorted()).toEqual(['.', 'd']);
    rmSync(fixture.top, { recursive: true });
  });
});
