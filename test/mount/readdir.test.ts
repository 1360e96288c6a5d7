/** Listings while they change, and large ones: cookies stay good, nothing is lost or doubled. */
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { MOUNT_NEEDS, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { type Entry, dir, file, whiteout } from '../support/tree.js';

interface Listed {
  readonly name: string;
  readonly cookie: string;
  readonly ino: string;
}

async function more(client: Client, stream: number, count: number): Promise<Listed[]> {
  const words = await client.must('dread', stream, count);
  const listed: Listed[] = [];
  for (let i = 0; i < words.length; i += 3)
    listed.push({ name: words[i] ?? '', cookie: words[i + 1] ?? '', ino: words[i + 2] ?? '' });
  return listed;
}

async function rest(client: Client, stream: number): Promise<Listed[]> {
  const all: Listed[] = [];
  for (;;) {
    const some = await more(client, stream, 5000);
    if (some.length === 0) return all;
    all.push(...some);
  }
}

function names(listed: readonly Listed[]): string[] {
  return listed.map(({ name }) => name).sort();
}

function files(prefix: string, count: number): Entry[] {
  return [dir('d'), ...Array.from({ length: count }, (_, i) => file(`d/${prefix}${i}`))];
}

const SMALL = {
  lowers: [[...files('a', 150), whiteout('d/b7')], files('b', 150)],
  upper: files('u', 150),
};
const ALL = [
  ...['.', '..'],
  ...['a', 'b', 'u'].flatMap((p) => Array.from({ length: 150 }, (_, i) => `${p}${i}`)),
]
  .filter((name) => name !== 'b7')
  .sort();

describe.skipIf(!has(MOUNT_NEEDS))('a merged listing', () => {
  test('has each name once, with the inode number that stat tells', () =>
    withFixture('readdir', SMALL, async (client) => {
      await client.must('opendir', 0, 'd');
      const listed = await rest(client, 0);
      expect(names(listed)).toEqual(ALL);
      for (const { name, ino } of listed.filter((entry) => /^[abu]\d$/.test(entry.name)))
        expect([name, (await client.must('lstat', `d/${name}`))[7]]).toEqual([name, ino]);
      const dot = listed.find(({ name }) => name === '.');
      expect(dot?.ino).toBe((await client.must('lstat', 'd'))[7]);
      const dotdot = listed.find(({ name }) => name === '..');
      expect(dotdot?.ino).toBe((await client.must('lstat', '.'))[7]);
    }));

  test('has cookies that the off_t of a 32-bit program holds', () =>
    withFixture('readdir', SMALL, async (client) => {
      await client.must('opendir', 0, 'd');
      const listed = await rest(client, 0);
      expect(listed).toHaveLength(ALL.length);
      expect(listed.filter(({ cookie }) => Number(cookie) >= 2 ** 31)).toEqual([]);
    }));

  test('goes on where a cookie points, also in another stream', () =>
    withFixture('readdir', SMALL, async (client) => {
      await client.must('opendir', 0, 'd');
      const listed = await rest(client, 0);
      await client.must('opendir', 1, 'd');
      for (const at of [0, 1, 2, 50, 200, listed.length - 2, listed.length - 1]) {
        const expected = names(listed.slice(at + 1));
        for (const stream of [0, 1]) {
          await client.must('dseek', stream, Number(listed[at]?.cookie));
          expect(names(await rest(client, stream))).toEqual(expected);
        }
      }
      await client.must('drewind', 0);
      expect(names(await rest(client, 0))).toEqual(ALL);
    }));

  test('shows what stays exactly once while other names come and go', () =>
    withFixture('readdir', SMALL, async (client) => {
      await client.must('opendir', 0, 'd');
      const seen = names(await more(client, 0, 100));
      for (let round = 0; round < 8; round++) {
        await client.must('many', `d/new${round}-`, 0, 40);
        await client.must('unlink', `d/a${100 + round}`);
        await client.must('unlink', `d/u${100 + round}`);
        await client.must('unlink', `d/b${100 + round}`);
        seen.push(...names(await more(client, 0, 40)));
        await client.must('fewer', `d/new${round}-`, 0, 40, 2);
      }
      seen.push(...names(await rest(client, 0)));
      const stayed = ALL.filter((name) => !/^[abu]10[0-7]$/.test(name));
      const counts = new Map<string, number>();
      for (const name of seen) counts.set(name, (counts.get(name) ?? 0) + 1);
      expect(stayed.filter((name) => counts.get(name) !== 1)).toEqual([]);
      expect([...counts].filter(([, count]) => count !== 1)).toEqual([]);
      await client.must('drewind', 0);
      const after = names(await rest(client, 0));
      expect(after.filter((name) => !name.startsWith('new'))).toEqual(stayed);
      expect(after.filter((name) => name.startsWith('new')).length).toBe(8 * 20);
    }));

  test('removes everything while it is read, as rm -r does', () =>
    withFixture('readdir', SMALL, async (client) => {
      await client.must('opendir', 0, 'd');
      for (;;) {
        const some = await more(client, 0, 37);
        if (some.length === 0) break;
        for (const { name } of some)
          if (!/^\.+$/.test(name)) await client.must('unlink', `d/${name}`);
      }
      expect(await client.must('readdir', 'd')).toEqual([]);
      await client.must('closedir', 0);
      await client.must('rmdir', 'd');
    }));

  test('of 20,000 names is whole, in any order of creation and after removal', () =>
    withFixture('readdir', { lowers: [files('a', 10_000)], upper: [] }, async (client) => {
      await client.must('many', 'd/u', 0, 10_000);
      await client.must('opendir', 0, 'd');
      const listed = await rest(client, 0);
      expect(new Set(names(listed)).size).toBe(20_002);
      expect(listed.length).toBe(20_002);
      const middle = listed[10_000];
      await client.must('fewer', 'd/a', 0, 10_000, 5);
      await client.must('dseek', 0, Number(middle.cookie));
      const gone = (name: string): boolean =>
        /^a\d+$/.test(name) && Number(name.slice(1)) % 5 === 0;
      const expected = names(listed.slice(10_001)).filter((name) => !gone(name));
      expect(names(await rest(client, 0)).filter((name) => !gone(name))).toEqual(expected);
      await client.must('drewind', 0);
      expect((await rest(client, 0)).length).toBe(18_002);
    }));

  // The listing knew the directory as a lower one, and hid the upper one from the next lookup.
  test('shows a directory that was copied up after the listing, once the kernel forgot it', () =>
    withFixture(
      'readdir',
      { lowers: [[dir('c'), dir('c/b'), file('c/b/low')]] },
      async (client) => {
        await client.must('open', 0, 'c', 0, 0);
        await client.must('readdir', 'c');
        await client.must('mkdir', 'c/b/new', 0o755);
        await client.must('forget');
        expect(await client.must('readdir', 'c/b')).toEqual(['low', '8', 'new', '4']);
      },
    ));

  // A listing without attributes forgot how far down the subdirectory is merged.
  test('of more than 4096 names keeps its subdirectories merged', () =>
    withFixture(
      'readdir',
      {
        lowers: [[...files('a', 5000), dir('d/b'), file('d/b/low')]],
        upper: [dir('d'), dir('d/b'), file('d/b/up')],
      },
      async (client) => {
        expect((await client.must('readdir', 'd')).length).toBe(2 * 5001);
        expect(await client.must('readdir', 'd/b')).toEqual(['low', '8', 'up', '8']);
      },
    ));
});
