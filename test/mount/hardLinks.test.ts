/** Hard links of a layer: one file for whoever has it open, by whichever name, and over remounts. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { makeFixture, MOUNT_NEEDS, mounting, type Parts, withFixture } from '../support/fixture.js';
import { mountStack, tryMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { dir, file, hardlink } from '../support/tree.js';

const [RDONLY, RDWR] = [0, 2];
const [PROT_READ, SHARED] = [1, 1];
const PARTS: Parts = {
  lowers: [[file('a', 'x'.repeat(8192)), hardlink('b', 'a'), dir('d'), hardlink('d/c', 'a')]],
};
const NAMES = ['a', 'b', 'd/c'];

/** Inode number and links of a path: words of the client's lstat. */
async function linksOf(client: Client, path: string): Promise<string[]> {
  const words = await client.must('lstat', path);
  return [words[1] ?? '', words[7] ?? ''];
}

describe.skipIf(!has(MOUNT_NEEDS))('a lower file with three names', () => {
  for (const option of ['writeback=1', 'writeback=0', 'metacopy=off']) {
    test(`is one file for descriptors and mappings, ${option}`, () =>
      withFixture(
        'hardlinks',
        PARTS,
        async (reader, mounted) => {
          const writer = await mounted.client();
          await reader.must('open', 0, 'a', RDONLY, 0);
          await reader.must('mmap', 0, 0, 8192, PROT_READ, SHARED);
          expect(await reader.must('mread', 0, 0, 4)).toEqual(['4', 'xxxx']);
          await writer.must('open', 1, 'b', RDWR, 0);
          await writer.must('write', 1, 1, 'B');
          expect(await reader.must('mread', 0, 0, 4)).toEqual(['4', 'xBxx']);
          // Found only now: its name is in the lower, its file already in the upper.
          await writer.must('open', 2, 'd/c', RDWR, 0);
          await writer.must('write', 2, 2, 'C');
          await writer.must('unlink', 'a');
          await writer.must('write', 1, 3, 'D');
          expect(await reader.must('read', 0, 0, 5)).toEqual(['5', 'xBCDx']);
          expect(await reader.must('mread', 0, 0, 5)).toEqual(['5', 'xBCDx']);
          expect((await reader.must('fstat', 0))[1]).toBe('2');
        },
        [option],
      ));
  }

  test('keeps number and links over change, removal, remount and what the kernel forgets', async () => {
    const fixture = await makeFixture('hardlinks', PARTS);
    const before = await mounting(fixture, async (client) => {
      const first = await linksOf(client, 'a');
      await client.must('truncate', 'b', 5);
      await client.must('dropcaches');
      for (const name of NAMES) expect(await linksOf(client, name), name).toEqual(first);
      await client.must('rename', 'a', 'b', 0);
      for (const name of NAMES) expect(await linksOf(client, name), name).toEqual(first);
      return first;
    });
    expect(before[0]).toBe('3');
    const readOnly = async (client: Client): Promise<void> => {
      for (const name of NAMES) expect(await linksOf(client, name), name).toEqual(before);
      expect((await client.must('lstat', 'd/c'))[5]).toBe('5');
    };
    await mounting(fixture, readOnly, ['ro']);
    await mounting(fixture, async (client) => {
      for (const name of NAMES) expect(await linksOf(client, name), name).toEqual(before);
      await client.must('link', 'd/c', 'fourth');
      expect((await linksOf(client, 'a'))[0]).toBe('4');
      for (const name of ['a', 'b', 'd/c']) await client.must('unlink', name);
      expect(await linksOf(client, 'fourth')).toEqual(['1', before[1]]);
      expect((await client.must('lstat', 'fourth'))[5]).toBe('5');
    });
  });
});

describe.skipIf(!has(MOUNT_NEEDS))('index=on', () => {
  test('is refused above a layer without lasting handles; by default it is off there', async () => {
    const below = await makeFixture('hardlinks', PARTS);
    const above = await makeFixture('hardlinks', { lowers: [[]] });
    const mounted = await mountStack('stratafs', below.stack, below.mountpoint);
    try {
      const stack = { ...above.stack, lowers: [below.mountpoint] };
      const refused = await tryMount('stratafs', stack, above.mountpoint, ['index=on']);
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringMatching(
          /^stratafs: index=on needs lasting file handles, which the file system of \S+mnt does not give; leave index=on out\n$/,
        ),
      ]);
      expect(existsSync(join(stack.work ?? '', 'index'))).toBe(false);
      await mounting({ ...above, stack }, async (client) => {
        await client.must('truncate', 'a', 5);
        expect((await linksOf(client, 'b'))[0]).toBe('3');
      });
    } finally {
      await mounted.unmount();
    }
  });

  test('is refused where an upper was used above another layer, which the default mounts', async () => {
    const one = await makeFixture('hardlinks', PARTS);
    const other = await makeFixture('hardlinks', PARTS);
    await mounting(one, (client) => client.must('truncate', 'a', 5));
    const stack = { ...one.stack, lowers: other.stack.lowers };
    const refused = await tryMount('stratafs', stack, one.mountpoint, ['index=on']);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(
        /^stratafs: upperdir \S+upper was used above another lower layer than \S+lower0; use that one, or index=off\n$/,
      ),
    ]);
    await mounting({ ...one, stack }, async (client) => {
      expect((await client.must('lstat', 'a'))[5]).toBe('5');
      expect((await client.must('lstat', 'b'))[5]).toBe('8192');
    });
  });
});
