/**
 * data=passthrough: reads, writes and mappings are the layer's file itself. What is tested here is
 * the moment when that file becomes another one, because a lower file is copied up while readers
 * have it open: whoever opens it then gets the new file, those readers keep the old one, and no
 * lower byte is ever written. The same operations without that moment: test/differential.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import {
  APPEND,
  CREAT,
  INO,
  NEEDS,
  PAGE,
  PATH,
  PRIVATE,
  RDONLY,
  RDWR,
  READ,
  SHARED,
  TRUNC,
  WRITE,
  WRONLY,
  scene,
  statsOf,
} from '../support/passthrough.js';
import { manifestOf } from '../support/tree.js';

const EXCLUSIVE = 2 | 4; // LOCK_EX | LOCK_NB
const WRITE_LOCK = 1;
const OLD = '1.000000000';

describe.skipIf(!has(NEEDS))('a lower file that is opened for writing under its readers', () => {
  const ways: readonly (readonly [string, number])[] = [
    ['O_RDWR', RDWR],
    ['O_WRONLY', WRONLY],
    ['O_APPEND', WRONLY | APPEND],
    ['O_CREAT', RDWR | CREAT],
  ];
  for (const [name, flags] of ways)
    test(`opens with ${name}; new opens see the write, the reader what was there`, () =>
      scene(async ({ reader, writer }) => {
        const before = await reader.must('lstat', 'f');
        await reader.must('open', 0, 'f', RDONLY, 0);
        await reader.must('mmap', 0, 0, 3 * PAGE, READ, SHARED);
        await writer.must('open', 1, 'f', flags, 0o600);
        const at = (flags & APPEND) === 0 ? 2 : 3 * PAGE;
        await writer.must('write', 1, (flags & APPEND) === 0 ? 2 : -1, 'NEW');
        await reader.must('open', 2, 'f', RDONLY, 0);
        expect(await reader.must('read', 2, at, 3)).toEqual(['3', 'NEW']);
        expect(await reader.must('read', 0, 2, 3)).toEqual(['3', 'xxx']);
        expect(await reader.must('mread', 0, 2, 3)).toEqual(['3', 'xxx']);
        // One object: number, attributes and changes of either descriptor.
        for (const slot of [0, 2])
          expect((await reader.must('fstat', slot))[INO]).toBe(before[INO]);
        expect((await reader.must('lstat', 'f'))[INO]).toBe(before[INO]);
        await reader.must('fchmod', 0, 0o611);
        expect((await writer.must('fstat', 1))[0]).toBe('100611');
        await writer.must('fchmod', 1, 0o640);
        for (const slot of [0, 2]) expect((await reader.must('fstat', slot))[0]).toBe('100640');
        const [, , , , , size] = await writer.must('lstat', 'f');
        expect((await reader.must('fstat', 0))[5]).toBe(size);
      }));

  test('O_TRUNC copies nothing, and the reader keeps the bytes', () =>
    scene(async ({ reader, writer, mounted }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await writer.must('open', 1, 'f', WRONLY | TRUNC, 0);
      expect((await reader.must('lstat', 'f'))[5]).toBe('0');
      await writer.must('write', 1, 0, 'short');
      expect((await reader.must('lstat', 'f'))[5]).toBe('5');
      expect(await reader.must('read', 0, 0, 5)).toEqual(['5', 'xxxxx']);
      expect((await statsOf(mounted))['copyUps']).toBe(1);
    }));

  test('truncate(2) by name', () =>
    scene(async ({ reader, writer }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await writer.must('truncate', 'f', 2);
      expect(await reader.must('read', 0, 0, 4)).toEqual(['4', 'xxxx']);
      expect((await reader.must('fstat', 0))[5]).toBe('2');
      await reader.must('open', 2, 'f', RDONLY, 0);
      expect(await reader.must('read', 2, 0, 4)).toEqual(['2', 'xx']);
      await writer.must('open', 1, 'f', RDWR, 0);
      await writer.must('write', 1, 0, 'ab');
      expect(await reader.must('read', 2, 0, 4)).toEqual(['2', 'ab']);
    }));

  test('after a change of its metadata alone, which moves no data', () =>
    scene(async ({ reader, writer, mounted }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await writer.must('chmod', 'f', 0o600);
      await writer.must('open', 1, 'f', RDONLY, 0);
      expect((await statsOf(mounted))['backingsRegistered']).toBe(1);
      await writer.must('rename', 'f', 'g', 0);
      await writer.must('link', 'g', 'second');
      await writer.must('open', 1, 'second', RDWR, 0);
      await writer.must('write', 1, 0, 'NEW');
      for (const path of ['g', 'second']) {
        await reader.must('open', 2, path, RDONLY, 0);
        expect(await reader.must('read', 2, 0, 4)).toEqual(['4', 'NEWx']);
        expect((await reader.must('lstat', path))[1]).toBe('2');
      }
      expect(await reader.must('read', 0, 0, 4)).toEqual(['4', 'xxxx']);
      await writer.must('unlink', 'g');
      expect((await reader.must('fstat', 0))[1]).toBe('1');
      expect((await reader.must('lstat', 'second'))[1]).toBe('1');
    }));

  test('programs: the name runs the new one, the descriptor the old one', () =>
    scene(async ({ reader, writer, fixture }) => {
      expect(await reader.must('exec', 'true')).toEqual(['0']);
      await reader.must('open', 0, 'true', RDONLY, 0);
      // No descriptor for writing may be open when it runs: so dd, not the client.
      const [lower = ''] = fixture.stack.lowers;
      const to = `of=${join(fixture.mountpoint, 'true')}`;
      execFileSync('dd', [`if=${join(lower, 'false')}`, to, 'status=none']);
      expect(await writer.must('exec', 'true')).toEqual(['1']);
      expect(await reader.must('fexec', 0)).toEqual(['0']);
      expect(await reader.must('exec', 'true')).toEqual(['1']);
    }));

  test('a program that runs cannot be opened for writing', () =>
    scene(async ({ writer, fixture }) => {
      const program = spawn(join(fixture.mountpoint, 'sleep'), ['60']);
      try {
        await once(program, 'spawn');
        expect(await writer.errno('open', 0, 'sleep', RDWR, 0)).toBe('ETXTBSY');
        await writer.must('chmod', 'sleep', 0o700);
        expect(await writer.errno('open', 0, 'sleep', WRONLY | TRUNC, 0)).toBe('ETXTBSY');
      } finally {
        program.kill();
        await once(program, 'exit');
      }
      await writer.must('open', 0, 'sleep', RDWR, 0);
    }));

  test('by /proc/self/fd: to read, what the descriptor has; to write, ESTALE', () =>
    scene(async ({ reader, writer, mounted }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await reader.must('open', 9, 'f', PATH, 0);
      expect(await reader.errno('reopen', 1, 0, RDWR)).toBe('ESTALE');
      expect((await statsOf(mounted))['copyUps']).toBe(0);
      await writer.must('open', 1, 'f', RDWR, 0);
      await writer.must('write', 1, 0, 'NEW');
      for (const from of [0, 9]) {
        await reader.must('reopen', 2, from, RDONLY);
        expect(await reader.must('read', 2, 0, 4)).toEqual(['4', 'xxxx']);
        expect(await reader.errno('reopen', 3, from, RDWR)).toBe('ESTALE');
      }
      await reader.must('open', 3, 'f', RDONLY, 0);
      await reader.must('reopen', 4, 3, RDWR);
      await reader.must('write', 4, 3, 'er');
      expect(await writer.must('read', 1, 0, 6)).toEqual(['6', 'NEWerx']);
      // Once nobody has the lower file open, the descriptor without a file leads to the new one.
      for (const slot of [0, 2]) await reader.must('close', slot);
      await reader.must('reopen', 5, 9, RDONLY);
      expect(await reader.must('read', 5, 0, 6)).toEqual(['6', 'NEWerx']);
      await reader.must('reopen', 6, 9, RDWR | APPEND);
      await reader.must('write', 6, -1, 'END');
      expect(await writer.must('read', 1, 3 * PAGE, 6)).toEqual(['3', 'END']);
      expect(await reader.must('lseek', 6, 0, 4)).toEqual([String(3 * PAGE + 3)]);
      expect((await writer.must('lstat', 'f'))[5]).toBe(String(3 * PAGE + 3));
    }));

  test("by a descriptor that reads nothing, which stands in nobody's way", () =>
    scene(async ({ reader, writer }) => {
      await reader.must('open', 0, 'f', PATH, 0);
      await reader.must('reopen', 1, 0, RDWR);
      await reader.must('write', 1, 0, 'NEW');
      await writer.must('open', 2, 'f', RDONLY, 0);
      expect(await writer.must('read', 2, 0, 4)).toEqual(['4', 'NEWx']);
    }));

  test('mappings: shared stores reach others and the upper, private ones nobody', () =>
    scene(async ({ reader, writer, fixture }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await reader.must('mmap', 0, 0, 3 * PAGE, READ, PRIVATE);
      await writer.must('open', 1, 'f', RDWR, 0);
      await writer.must('mmap', 1, 1, 3 * PAGE, READ | WRITE, SHARED);
      await writer.must('mmap', 2, 1, 3 * PAGE, READ | WRITE, PRIVATE);
      await writer.must('utimens', 'f', 1, 0, 1, 0);
      expect((await writer.must('lstat', 'f'))[6]).toBe(OLD);
      await writer.must('close', 1);
      await writer.must('mwrite', 2, PAGE, 'PRIVATE');
      await writer.must('mwrite', 1, PAGE, 'SHARED');
      await writer.must('msync', 1, 0);
      await reader.must('open', 2, 'f', RDONLY, 0);
      expect(await reader.must('read', 2, PAGE, 7)).toEqual(['7', 'SHAREDx']);
      expect(await reader.must('mread', 0, PAGE, 3)).toEqual(['3', 'xxx']);
      expect((await reader.must('lstat', 'f'))[6]).not.toBe(OLD);
      const upper = await manifestOf(fixture.stack.upper ?? '');
      const seen = await manifestOf(fixture.mountpoint);
      expect(upper.get('f')?.get('data')).toBe(seen.get('f')?.get('data'));
    }));

  test('holes and copies are those of the bytes the reader sees', () =>
    scene(async ({ reader, writer }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await writer.must('open', 1, 'f', RDWR | TRUNC, 0);
      expect(await reader.errno('lseek', 0, 0, 3)).toBe('EINVAL');
      await reader.must('open', 2, 'copy', RDWR | CREAT, 0o644);
      expect(await reader.must('copyrange', 0, 0, 2, 0, 100)).toEqual(['100']);
      expect(await reader.must('read', 2, 98, 10)).toEqual(['2', 'xx']);
    }));

  test('a removed one is read on, and cannot be opened for writing while it is', () =>
    scene(async ({ reader, writer }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await reader.must('open', 1, 'f', PATH, 0);
      await writer.must('unlink', 'f');
      expect(await reader.must('read', 0, 0, 3)).toEqual(['3', 'xxx']);
      expect(await reader.errno('reopen', 2, 0, RDWR)).toBe('ESTALE');
      await reader.must('reopen', 2, 0, RDONLY);
      await reader.must('close', 0);
      await reader.must('close', 2);
      await reader.must('reopen', 2, 1, RDWR);
      await reader.must('write', 2, 0, 'gone');
      expect(await reader.must('read', 2, 0, 5)).toEqual(['5', 'gonex']);
      expect((await reader.must('fstat', 2))[1]).toBe('0');
    }));

  test('hard links stay one file under all names, whichever was opened', () =>
    scene(async ({ reader, writer, mounted, fixture }) => {
      const ino = (await reader.must('lstat', 'h2'))[INO];
      await reader.must('open', 0, 'h1', RDONLY, 0);
      await writer.must('open', 1, 'h2', RDWR, 0);
      await writer.must('write', 1, 0, 'NEW');
      for (const path of ['h1', 'h2']) {
        await reader.must('open', 2, path, RDONLY, 0);
        expect(await reader.must('read', 2, 0, 4)).toEqual(['4', 'NEWx']);
        const found = await writer.must('lstat', path);
        expect([found[1], found[INO]]).toEqual(['2', ino]);
      }
      expect(await reader.must('read', 0, 0, 4)).toEqual(['4', 'xxxx']);
      expect((await reader.must('fstat', 0))[1]).toBe('2');
      // The old, the new: two backing files for two names and two descriptors.
      expect(await statsOf(mounted)).toMatchObject({ backings: 2, backingsRegistered: 2 });
      await writer.must('unlink', 'h2');
      expect((await reader.must('fstat', 0))[1]).toBe('1');
      expect(await reader.errno('lstat', 'h2')).toBe('ENOENT');
      await reader.must('open', 3, 'h1', RDWR, 0);
      await reader.must('write', 3, 3, 'er');
      expect(await writer.must('read', 1, 0, 6)).toEqual(['6', 'NEWerx']);
      await writer.must('unlink', 'h1');
      for (const slot of [0, 3]) expect((await reader.must('fstat', slot))[1]).toBe('0');
      await reader.must('write', 3, 0, 'gone');
      expect(await writer.must('read', 1, 0, 6)).toEqual(['6', 'gonerx']);
      const upper = await manifestOf(fixture.stack.upper ?? '');
      expect(['h1', 'h2'].map((name) => upper.get(name)?.get('data'))).toEqual([
        undefined,
        undefined,
      ]);
    }));

  test('with index=off the names of a hard link part, as with any change', () =>
    scene(
      async ({ reader, writer }) => {
        await reader.must('open', 0, 'h1', RDONLY, 0);
        await writer.must('open', 1, 'h1', RDWR, 0);
        await writer.must('write', 1, 0, 'NEW');
        await reader.must('open', 2, 'h2', RDONLY, 0);
        expect(await reader.must('read', 2, 0, 4)).toEqual(['4', 'xxxx']);
        await reader.must('open', 2, 'h1', RDONLY, 0);
        expect(await reader.must('read', 2, 0, 4)).toEqual(['4', 'NEWx']);
      },
      ['index=off'],
    ));

  test('the kernel forgets it when its readers have gone', () =>
    scene(async ({ reader, writer, mounted }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await writer.must('open', 1, 'f', RDWR, 0);
      await writer.must('write', 1, 0, 'NEW');
      await reader.must('close', 0);
      await writer.must('close', 1);
      await writer.must('forget');
      await expect.poll(async () => (await statsOf(mounted))['inodes'], { timeout: 5000 }).toBe(1);
      expect(await statsOf(mounted)).toMatchObject({ open: 0, backings: 0 });
      await reader.must('open', 0, 'f', RDONLY, 0);
      expect(await reader.must('read', 0, 0, 4)).toEqual(['4', 'NEWx']);
    }));
});

describe.skipIf(!has(NEEDS))('locks over the copy-up', () => {
  test('hold on an empty file, as lock files are', () =>
    scene(async ({ reader, writer }) => {
      await reader.must('open', 0, 'empty', RDONLY, 0);
      await reader.must('open', 1, 'empty', RDONLY, 0);
      await reader.must('flock', 0, EXCLUSIVE);
      await writer.must('open', 1, 'empty', RDWR, 0);
      await writer.must('write', 1, 0, 'pid');
      expect(await writer.errno('flock', 1, EXCLUSIVE)).toBe('EAGAIN');
      expect(await reader.must('read', 0, 0, 5)).toEqual(['3', 'pid']);
      await reader.must('close', 0);
      await writer.must('flock', 1, EXCLUSIVE);
      expect(await reader.errno('flock', 1, EXCLUSIVE)).toBe('EAGAIN');
    }));

  test('hold between all that open a file for writing', () =>
    scene(async ({ reader, writer }) => {
      for (const path of ['f', 'up']) {
        await reader.must('open', 0, path, RDWR, 0);
        await reader.must('setlk', 0, WRITE_LOCK, 0, 10);
        await writer.must('open', 1, path, RDWR, 0);
        expect(await writer.errno('setlk', 1, WRITE_LOCK, 5, 10)).toBe('EAGAIN');
        await writer.must('setlk', 1, WRITE_LOCK, 10, 10);
        await reader.must('close', 0);
        await writer.must('setlk', 1, WRITE_LOCK, 0, 10);
      }
    }));

  // Said in the README's limits.
  test('are not seen between those who read the old bytes and the others', () =>
    scene(async ({ reader, writer }) => {
      await reader.must('open', 0, 'f', RDONLY, 0);
      await reader.must('flock', 0, EXCLUSIVE);
      await writer.must('open', 1, 'f', RDWR, 0);
      await writer.must('flock', 1, EXCLUSIVE);
    }));
});
