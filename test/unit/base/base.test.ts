import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { display, toLatin1 } from '../../../src/base/bytes.js';
import { E, errnoName, errnoText, UserError } from '../../../src/base/errno.js';
import {
  COOKIE_DOT,
  COOKIE_DOTDOT,
  cookieOf,
  FIRST_COOKIE,
  hash32,
} from '../../../src/base/hash.js';
import * as mode from '../../../src/base/mode.js';

const EVERY_BYTE = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1));

describe('names as bytes', () => {
  it('makes one character a byte of what a user gives', () => {
    expect(toLatin1('é€')).toBe('\xc3\xa9\xe2\x82\xac');
    expect(Buffer.from(toLatin1('x/ü'), 'latin1')).toEqual(Buffer.from('x/ü', 'utf8'));
  });

  it('shows UTF-8 as text and other bytes as \\xNN', () => {
    expect(display(toLatin1('größe'))).toBe('größe');
    expect(display('plain')).toBe('plain');
    expect(display('\xff\xfea\n')).toBe('\\xff\\xfea\\x0a');
  });
});

describe('errno', () => {
  it.each(Object.entries(constants.errno))('has %s as this machine does', (name, code) => {
    expect(E[name as keyof typeof constants.errno]).toBe(code);
  });

  it('names a code whether it is given positive or negative', () => {
    expect(errnoName(2)).toBe('ENOENT');
    expect(errnoName(-2)).toBe('ENOENT');
    expect(errnoName(117)).toBe('EUCLEAN');
    expect(errnoName(4000)).toBe('errno 4000');
    expect(errnoText(-2)).toBe('no such file or directory (ENOENT)');
  });

  it('knows a user error by its type', () => {
    expect(new UserError('say what')).toBeInstanceOf(Error);
    expect(new UserError('say what').name).toBe('UserError');
  });
});

describe('hashes', () => {
  // Cookies lie in listings that outlive the process, names' hashes in the arena: never change these.
  it('gives the same value in every version', () => {
    expect([hash32('a', 1), hash32('etc', 1), hash32('\xff\x80', 7)]).toMatchInlineSnapshot(`
      [
        757995991,
        1175137067,
        3231816780,
      ]
    `);
    expect([cookieOf('a'), cookieOf('etc'), cookieOf('\xff\x80')]).toMatchInlineSnapshot(`
      [
        187539960,
        1965372026,
        1737850142,
      ]
    `);
  });

  it('tells apart seeds, order and every byte value', () => {
    expect(hash32('a', 1)).not.toBe(hash32('a', 2));
    expect(hash32('ab', 1)).not.toBe(hash32('ba', 1));
    expect(new Set(EVERY_BYTE.map((c) => hash32(c, 1))).size).toBe(255);
  });

  it('makes cookies of 31 bits, above those of "." and ".."', () => {
    expect(COOKIE_DOT).toBeLessThan(COOKIE_DOTDOT);
    expect(COOKIE_DOTDOT).toBeLessThan(FIRST_COOKIE);
    for (let i = 0; i < 10_000; i++) {
      const cookie = cookieOf(`name${i}`);
      expect(cookie).toBeGreaterThanOrEqual(FIRST_COOKIE);
      expect(cookie).toBeLessThan(2 ** 31 - 2 ** 23);
    }
  });

  it('spreads names: few of 200,000 share a cookie, no bucket of 1,024 is much fuller', () => {
    const cookies = new Set<number>();
    const buckets = new Uint32Array(1024);
    for (let i = 0; i < 200_000; i++) {
      cookies.add(cookieOf(`file-${i}.txt`));
      buckets[hash32(`file-${i}.txt`, 1) & 1023]++;
    }
    // By chance 9.4 of them do.
    expect(cookies.size).toBeGreaterThan(200_000 - 40);
    expect(Math.max(...buckets)).toBeLessThan(300); // 195 on average
  });
});

describe('modes', () => {
  it('compares types as a whole: a socket is neither a file nor a symlink', () => {
    expect(mode.isReg(mode.S_IFSOCK)).toBe(false);
    expect(mode.isLnk(mode.S_IFSOCK)).toBe(false);
    expect(mode.isDir(mode.S_IFBLK | 0o755)).toBe(false);
    expect(mode.isChr(mode.S_IFBLK)).toBe(false);
    expect(mode.isDir(0o040755)).toBe(true);
    expect(mode.isReg(0o100644)).toBe(true);
    expect(mode.isLnk(0o120777)).toBe(true);
  });

  it('gives the d_type of readdir(3)', () => {
    const types = [mode.S_IFIFO, mode.S_IFCHR, mode.S_IFDIR, mode.S_IFBLK];
    expect(types.map(mode.dtype)).toEqual([1, 2, 4, 6]);
    expect([mode.S_IFREG, mode.S_IFLNK, mode.S_IFSOCK].map(mode.dtype)).toEqual([8, 10, 12]);
  });
});
