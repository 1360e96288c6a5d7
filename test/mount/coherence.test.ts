/**
 * One file has one page cache, before and after copy-up: who opened or mapped it earlier sees what
 * is written later. Kernel overlayfs and fuse-overlayfs do not manage that.
 */
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { MOUNT_NEEDS, type Parts, mounting, makeFixture, withFixture } from '../support/fixture.js';
import type { Mounted } from '../support/mount.js';
import { has } from '../support/needs.js';
import { file, hardlink, manifest, manifestOf } from '../support/tree.js';

const RDONLY = 0;
const RDWR = 2;
const APPEND = 0o2000;
const TRUNC = 0o1000;
const PROT_READ = 1;
const PROT_WRITE = 2;
const SHARED = 1;
const PAGE = 4096;

const TEXT = 'x'.repeat(3 * PAGE);
const PARTS: Parts = {
  lowers: [[file('f', TEXT), file('h1', TEXT), hardlink('h2', 'h1'), file('other', 'other')]],
};

/** `body` gets two clients, that is two processes. */
function between(
  body: (reader: Client, writer: Client) => Promise<void>,
  options: readonly string[] = [],
): Promise<void> {
  return withFixture(
    'coherence',
    PARTS,
    async (reader: Client, mounted: Mounted) => body(reader, await mounted.client()),
    options,
  );
}

async function openAndMap(reader: Client, path: string): Promise<void> {
  await reader.must('open', 0, path, RDONLY, 0);
  await reader.must('mmap', 0, 0, 3 * PAGE, PROT_READ, SHARED);
}

async function write(writer: Client, path: string, offset: number, data: string): Promise<void> {
  await writer.must('open', 1, path, RDWR, 0);
  await writer.must('write', 1, offset, data);
}

for (const writeback of [1, 0]) {
  const options = [`writeback=${writeback}`];
  describe.skipIf(!has(MOUNT_NEEDS))(`copy-up under readers, writeback=${writeback}`, () => {
    test('a descriptor opened before sees bytes written after', () =>
      between(async (reader, writer) => {
        await reader.must('open', 0, 'f', RDONLY, 0);
        expect(await reader.must('read', 0, 0, 4)).toEqual(['4', 'xxxx']);
        await write(writer, 'f', 2, 'NEW');
        expect(await reader.must('read', 0, 0, 6)).toEqual(['6', 'xxNEWx']);
        expect(await reader.must('read', 0, PAGE, 4)).toEqual(['4', 'xxxx']);
      }, options));

    test('a mapping made before sees bytes written after, touched or not', () =>
      between(async (reader, writer) => {
        await openAndMap(reader, 'f');
        await reader.must('mread', 0, 0, 8);
        await write(writer, 'f', 0, 'ONE');
        await write(writer, 'f', 2 * PAGE, 'TWO');
        expect(await reader.must('mread', 0, 0, 4)).toEqual(['4', 'ONEx']);
        expect(await reader.must('mread', 0, 2 * PAGE, 4)).toEqual(['4', 'TWOx']);
      }, options));

    test('a mapping survives the end of its descriptor and fsync by the writer', () =>
      between(async (reader, writer) => {
        await openAndMap(reader, 'f');
        await reader.must('close', 0);
        await write(writer, 'f', 10, 'later');
        await writer.must('fsync', 1);
        expect(await reader.must('mread', 0, 8, 8)).toEqual(['8', 'xxlaterx']);
      }, options));

    test('growth, truncation and a new mode show through the earlier descriptor', () =>
      between(async (reader, writer) => {
        await reader.must('open', 0, 'f', RDONLY, 0);
        await writer.must('open', 1, 'f', RDWR | APPEND, 0);
        await writer.must('write', 1, -1, 'END');
        expect(await reader.must('read', 0, 3 * PAGE, 10)).toEqual(['3', 'END']);
        await writer.must('chmod', 'f', 0o600);
        const grown = await reader.must('fstat', 0);
        expect([grown[0], grown[5]]).toEqual(['100600', String(3 * PAGE + 3)]);
        await writer.must('truncate', 'f', 2);
        expect(await reader.must('read', 0, 0, 10)).toEqual(['2', 'xx']);
        await writer.must('open', 2, 'f', RDWR | TRUNC, 0);
        expect(await reader.must('read', 0, 0, 10)).toEqual(['0', '']);
      }, options));

    test('a write through a new hard link shows through the old name', () =>
      between(async (reader, writer) => {
        await openAndMap(reader, 'f');
        await reader.must('mread', 0, 0, 4);
        await writer.must('link', 'f', 'second');
        await write(writer, 'second', 1, 'LINK');
        expect(await reader.must('read', 0, 0, 6)).toEqual(['6', 'xLINKx']);
        expect(await reader.must('mread', 0, 0, 6)).toEqual(['6', 'xLINKx']);
        expect((await reader.must('fstat', 0))[1]).toBe('2');
      }, options));

    test('renaming, removing and replacing the name keep descriptor and writer together', () =>
      between(async (reader, writer) => {
        await openAndMap(reader, 'f');
        await writer.must('open', 1, 'f', RDWR, 0);
        await writer.must('rename', 'f', 'moved', 0);
        await writer.must('write', 1, 0, 'AAA');
        expect(await reader.must('mread', 0, 0, 4)).toEqual(['4', 'AAAx']);
        await writer.must('rename', 'other', 'moved', 0);
        await writer.must('write', 1, 3, 'BBB');
        expect(await reader.must('read', 0, 0, 7)).toEqual(['7', 'AAABBBx']);
        expect(await reader.must('mread', 0, 0, 7)).toEqual(['7', 'AAABBBx']);
      }, options));

    test('a removed lower file is written and read by those who hold it', () =>
      between(async (reader, writer) => {
        await openAndMap(reader, 'f');
        await writer.must('open', 1, 'f', RDWR, 0);
        await writer.must('unlink', 'f');
        await writer.must('write', 1, 0, 'gone');
        expect(await reader.must('read', 0, 0, 5)).toEqual(['5', 'gonex']);
        expect(await reader.must('mread', 0, 0, 5)).toEqual(['5', 'gonex']);
        expect((await reader.must('fstat', 0))[1]).toBe('0');
        expect(await reader.errno('lstat', 'f')).toBe('ENOENT');
      }, options));

    test('a store through a shared mapping copies up and reaches others', () =>
      between(async (reader, writer) => {
        await reader.must('open', 0, 'f', RDONLY, 0);
        await writer.must('open', 1, 'f', RDWR, 0);
        await writer.must('mmap', 0, 1, 3 * PAGE, PROT_READ | PROT_WRITE, SHARED);
        await writer.must('mwrite', 0, PAGE, 'MAPPED');
        expect(await reader.must('read', 0, PAGE, 7)).toEqual(['7', 'MAPPEDx']);
        await writer.must('msync', 0, 0);
        await reader.must('dropcaches');
        expect(await reader.must('read', 0, PAGE, 7)).toEqual(['7', 'MAPPEDx']);
      }, options));

    test('what a store through a mapping wrote is in the upper after the unmount', async () => {
      const fixture = await makeFixture('coherence', PARTS);
      const seen = await mounting(
        fixture,
        async (client) => {
          await client.must('open', 0, 'f', RDWR, 0);
          await client.must('mmap', 0, 0, 3 * PAGE, PROT_READ | PROT_WRITE, SHARED);
          await client.must('mwrite', 0, 5, 'only in the page cache so far');
          await client.must('close', 0);
          return manifest(client);
        },
        options,
      );
      const upper = await manifestOf(fixture.stack.upper ?? '');
      expect(upper.get('f')?.get('data')).toBe(seen.get('f')?.get('data'));
    });
  });
}
