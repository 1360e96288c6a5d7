/**
 * With the writeback cache the kernel keeps the modification times, to the nanosecond: what it showed
 * of a file is what the upper and the next mount must have, whatever came last, the time or the data.
 */
import { afterAll, describe, expect, test } from 'vitest';
import type { Client, Word } from '../support/client.js';
import { MOUNT_NEEDS, makeFixture, mounting } from '../support/fixture.js';
import { Images, makersOf } from '../support/images.js';
import { has } from '../support/needs.js';
import { mustRun } from '../support/run.js';
import {
  type Entry,
  type Manifest,
  differences,
  file,
  hardlink,
  manifest,
  manifestOf,
} from '../support/tree.js';

const RDWR = 2;
const CREATE = 0o102;
const APPEND = 0o2002;
const TRUNCATE = 0o1002;
const TMPFILE = 0o20200002;
const DIRECT = 0o40000;
const PUNCH_KEEP = 3;
const PROT_WRITE = 3;
const SHARED = 1;
const PAGE = 4096;
const MIB = 1 << 20;

/** Many, as what is meant must come within one tick of the clock (1 to 10 ms), or between two pages. */
const MANY = 60;

const each = <T>(make: (i: number) => readonly T[]): T[] =>
  Array.from({ length: MANY }, (_, i) => make(i)).flat();

type Command = readonly [string, ...Word[]];

/** All at once, so that one is not a message later than the other. */
async function all(client: Client, commands: readonly Command[]): Promise<void> {
  await Promise.all(commands.map(([name, ...words]) => client.must(name, ...words)));
}

const LOWER: readonly Entry[] = [
  ...each((i) => [file(`low${i}`, 'lower data '.repeat(2000))]),
  ...each((i) => [file(`one${i}`, 'linked'), hardlink(`two${i}`, `one${i}`)]),
  file('large', { size: MIB, seed: 1 }),
];
const UPPER: readonly Entry[] = [
  ...each((i) => [file(`up${i}`, 'upper data '.repeat(2000))]),
  ...each((i) => [file(`here${i}`, 'linked'), hardlink(`there${i}`, `here${i}`)]),
  ...each((i) => [file(`tmp${i}`, 'named')]),
];

const names = (tree: Manifest): string[] => [...tree.keys()].filter((path) => path !== '.');

/** The fields that `keeps` compares: the times of files, and that the data is there at all. */
const times = (tree: Manifest): Manifest =>
  new Map(
    [...tree].map(([path, fields]) => [
      path,
      new Map(['mtime', 'ns', 'size', 'data'].map((field) => [field, fields.get(field) ?? ''])),
    ]),
  );

const pick = (tree: Manifest, paths: readonly string[]): Manifest =>
  new Map(paths.map((path) => [path, tree.get(path) ?? new Map<string, string>()]));

/** Runs `body` on a mount; what it showed then must be in the upper, and shown by the next. */
async function keeps(
  body: (client: Client) => Promise<void>,
  options: readonly string[] = ['writeback=1'],
  upperOn?: string,
): Promise<Manifest> {
  const parts = { lowers: [LOWER], upper: UPPER, ...(upperOn === undefined ? {} : { upperOn }) };
  const fixture = await makeFixture('mtimes', parts);
  const upper = fixture.stack.upper ?? '';
  const before = await manifestOf(upper);
  const seen = await mounting(
    fixture,
    async (client) => {
      await body(client);
      return times(await manifest(client));
    },
    options,
  );
  const after = times(await manifestOf(upper));
  const changed = names(after).filter(
    (path) => after.get(path)?.get('mtime') !== before.get(path)?.get('mtime'),
  );
  expect(differences(pick(seen, names(after)), pick(after, names(after))), 'in the upper').toEqual(
    [],
  );
  const again = await mounting(fixture, async (client) => times(await manifest(client)), options);
  expect(
    differences(seen, again, (path) => path === '.'),
    'after a remount',
  ).toEqual([]);
  return pick(seen, changed);
}

const write = (path: string, flags: number, data: string, offset = 0): Command[] => [
  ['open', 0, path, flags, 0o644],
  ['write', 0, offset, data],
  ['close', 0],
];

describe.skipIf(!has(MOUNT_NEEDS))('the mtime that was shown is the one that stays', () => {
  test.each([['metacopy=on'], ['metacopy=off']])(
    'of files that are written, %s',
    async (option) => {
      const changed = await keeps(
        async (client) => {
          await all(
            client,
            each((i) => write(`new${i}`, CREATE, `new ${i}`)),
          );
          await all(
            client,
            each((i) => write(`low${i}`, RDWR, 'changed', i % 2 === 0 ? 0 : 9000)),
          );
          await all(
            client,
            each((i) => write(`up${i}`, i % 2 === 0 ? APPEND : RDWR, 'more')),
          );
          await all(
            client,
            each((i) => write(`one${i}`, APPEND, 'more')),
          );
          await all(
            client,
            each((i) => write(`there${i}`, RDWR, 'more')),
          );
        },
        ['writeback=1', option],
      );
      expect(changed.size).toBeGreaterThanOrEqual(5 * MANY);
    },
  );

  test('of files whose metadata changed first, and times that were set', async () => {
    await keeps(async (client) => {
      await all(
        client,
        each((i) => [
          ['chmod', `low${i}`, 0o600] as Command,
          ...write(`low${i}`, i % 2 === 0 ? RDWR : TRUNCATE, 'changed'),
          ...write(`new${i}`, CREATE, 'first'),
          ['open', 0, `new${i}`, RDWR, 0] as Command,
          ['write', 0, 0, 'second'] as Command,
          ['futimens', 0, 5, i, 7, i] as Command,
          ...(i % 2 === 0 ? [['write', 0, 0, 'third'] as Command] : []),
          ['close', 0] as Command,
        ]),
      );
    });
  });

  test('of files still open and dirty at the end, or synced', async () => {
    await keeps(async (client) => {
      await all(
        client,
        each((i) => [
          ['open', i % 16, `new${i}`, CREATE, 0o644],
          ['fill', i % 16, 0, 3 * PAGE, i],
          ...(i % 3 === 0 ? [['fsync', i % 16] as Command] : []),
          ...(i % 3 === 1 ? [['fill', i % 16, 9 * PAGE, PAGE, i] as Command] : []),
        ]),
      );
    });
  });

  test('of files that are mapped', async () => {
    await keeps(async (client) => {
      await all(
        client,
        each((i) =>
          ['new', 'low', 'up'].flatMap((kind): Command[] => [
            ['open', 0, `${kind}${i}`, CREATE, 0o644],
            ...(kind === 'new' ? [['ftruncate', 0, 2 * PAGE] as Command] : []),
            ['mmap', 0, 0, 2 * PAGE, PROT_WRITE, SHARED],
            ['mwrite', 0, 5, 'mapped'],
            ...(i % 2 === 0 ? [['msync', 0, 0] as Command] : []),
            ['mwrite', 0, PAGE, 'later'],
            ['munmap', 0, 0],
            ['close', 0],
          ]),
        ),
      );
    });
  });

  test('of what is allocated, punched, truncated, copied and written past the cache', async () => {
    await keeps(async (client) => {
      const opened = (path: string, flags = CREATE): Command => ['open', 0, path, flags, 0o644];
      await client.must('open', 1, 'large', 0, 0);
      await all(
        client,
        each((i): Command[] => [
          ...[opened(`alloc${i}`), ['fallocate', 0, 0, 0, 2 * PAGE] as Command],
          ...[opened(`low${i}`), ['fallocate', 0, PUNCH_KEEP, 0, PAGE] as Command],
          ...[opened(`up${i}`), ['ftruncate', 0, i % 2 === 0 ? 22_000 : 100] as Command],
          ['truncate', `here${i}`, i % 2 === 0 ? 6 : 3],
          ...[opened(`copy${i}`), ['copyrange', 1, 0, 0, 0, 3 * PAGE] as Command],
          ...[opened(`direct${i}`, CREATE | DIRECT), ['fill', 0, 0, PAGE, i] as Command],
          ...(i < 8 ? [opened(`big${i}`), ['copyrange', 1, 0, 0, 0, MIB] as Command] : []),
          ['close', 0],
        ]),
      );
    });
  });

  test('of files that get a name, or lose one of several, after they were written', async () => {
    const changed = await keeps(async (client) => {
      await all(
        client,
        each((i): Command[] => [
          ['open', 0, '.', TMPFILE, 0o644],
          ['write', 0, 0, 'no name'],
          ['unlink', `tmp${i}`],
          ['linkfd', 0, `tmp${i}`],
          // Only the name that goes was ever looked up.
          ['open', 0, `here${i}`, RDWR, 0],
          ['write', 0, 0, 'LINKED'],
          ['unlink', `here${i}`],
          ['close', 0],
        ]),
      );
    });
    expect(names(changed).filter((path) => path.startsWith('there')).length).toBe(MANY);
  });

  test('when the time is sent ahead of the pages', () =>
    keeps((client) => sendAhead(client, PAGE)));
});

/**
 * Writes pages with gaps between, so that each is a request of its own. syncfs starts them without
 * waiting and then sends the time (writeback_sb_inodes), which passes those that are not under way yet:
 * a connection has 64 of them at once.
 */
async function sendAhead(client: Client, size: number): Promise<void> {
  await client.must('open', 1, '.', 0, 0);
  for (const [i, path] of ['new', 'low0', 'up0'].entries()) {
    await client.must('open', 0, path, CREATE, 0o644);
    const pages = Array.from(
      { length: 250 },
      (_, at): Command => ['fill', 0, at * 2 * size, size, i],
    );
    await all(client, pages);
    await client.must('syncfs', 1);
    await client.must('close', 0);
  }
}

describe.skipIf(!has({ ...MOUNT_NEEDS, programs: ['gcc', ...makersOf('ext4')] }))(
  'on a disk that makes writes wait, which the pool then does',
  () => {
    const images = new Images();
    afterAll(() => images.close());

    test('the mtime that was shown is the one that stays', async () => {
      const disk = await images.mount('ext4');
      await mustRun('mount', ['-o', 'remount,sync', disk]);
      await keeps((client) => sendAhead(client, 8 * PAGE), ['writeback=1'], disk);
    });
  },
);
