/** The parser: pieces of any size, numbers of every form, and what it keeps in memory. */
import { describe, expect, it } from 'vitest';
import { FIELD, numberField, readHeader, writeHeader } from '../../../src/archive/header.js';
import { TarParser } from '../../../src/archive/parser.js';
import { readRecords, record, time, timeText } from '../../../src/archive/pax.js';
import { readTar } from '../../../src/archive/reader.js';
import type { Entry } from '../../../src/archive/types.js';
import {
  END,
  header,
  type Member,
  member,
  padded,
  pieces,
  tarball,
} from '../../support/tarball.js';

async function entriesOf(
  bytes: Buffer,
  size = bytes.length,
): Promise<(Entry & { data: string })[]> {
  const entries: (Entry & { data: string })[] = [];
  for await (const { entry, content } of readTar(pieces(bytes, size))) {
    let data = '';
    for await (const part of content) data += part.toString('latin1');
    entries.push({ ...entry, data });
  }
  return entries;
}

const MEMBERS: readonly Member[] = [
  { name: 'd/', type: '5', mode: 0o755 },
  {
    name: 'd/a',
    data: 'a'.repeat(1000),
    pax: { path: 'd/\xff\n', 'SCHILY.xattr.user.x': '\0=\n', mtime: '-1.5' },
  },
  { name: 'link', type: '1', target: 'd/a', size: 1000 },
  { name: 's', type: '2', target: 't'.repeat(100) },
  { name: 'old/', type: '\0' },
  { name: 'e', prefix: 'p', data: '' },
];

describe('TarParser', () => {
  it('gives the same whatever the size of the pieces', async () => {
    const bytes = tarball(MEMBERS);
    const whole = await entriesOf(bytes);
    for (const size of [1, 3, 511, 512, 513, 1000])
      expect(await entriesOf(bytes, size)).toEqual(whole);
    expect(whole.map(({ name, type, size }) => [name, type, size])).toEqual([
      ['d', 'dir', 0],
      ['d/\xff\n', 'file', 1000],
      // As for Go, a link's size announces no data.
      ['link', 'link', 0],
      ['s', 'symlink', 0],
      ['old', 'dir', 0],
      ['p/e', 'file', 0],
    ]);
    expect(whole[1]).toMatchObject({ mtime: -2, mtimeNs: 500_000_000, data: 'a'.repeat(1000) });
    expect([...(whole[1]?.xattrs ?? [])]).toEqual([['user.x', '\0=\n']]);
  });

  it('applies global records until they are taken back, under those of a member', async () => {
    const global = (text: string): Buffer => {
      const data = Buffer.from(text, 'latin1');
      return Buffer.concat([header({ name: 'g', type: 'g' }, data.length), padded(data)]);
    };
    const bytes = Buffer.concat([
      global(record('uid', '7') + record('mtime', '3.25')),
      member({ name: 'a' }),
      member({ name: 'b', pax: { uid: '8' } }),
      global(record('uid', '')),
      member({ name: 'c' }),
      END,
    ]);
    const entries = await entriesOf(bytes);
    expect(entries.map(({ uid, mtime, mtimeNs }) => [uid, mtime, mtimeNs])).toEqual([
      [7, 3, 250_000_000],
      [8, 3, 250_000_000],
      [0, 3, 250_000_000],
    ]);
  });

  it('passes members over whose content nobody reads', async () => {
    const names: string[] = [];
    for await (const { entry } of readTar(pieces(tarball(MEMBERS), 700))) names.push(entry.name);
    expect(names).toHaveLength(6);
  });

  it('knows sizes above 8 GiB', () => {
    const seen: Entry[] = [];
    const parser = new TarParser(
      { entry: (entry) => seen.push(entry), data: () => undefined, end: () => undefined },
      { bytes: 2 ** 40 },
    );
    parser.write(member({ name: 'a', pax: { size: '20000000000' } }).subarray(0, 3 * 512));
    parser.write(header({ name: 'b' }, 0).subarray(0, 0));
    expect(seen[0]?.size).toBe(20_000_000_000);
  });

  it('keeps nothing of a million members', () => {
    let count = 0;
    const parser = new TarParser({
      entry: () => count++,
      data: () => undefined,
      end: () => undefined,
    });
    const some = Buffer.concat(
      Array.from({ length: 1000 }, (_, i) => header({ name: `f${i}` }, 0)),
    );
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 1000; i++) parser.write(some);
    parser.write(END);
    parser.finish();
    expect(count).toBe(1_000_000);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(200_000_000);
  });
});

describe('headers', () => {
  it('have numbers in octal and in base 256, negative ones, too', () => {
    const field = (bytes: readonly number[]): number =>
      numberField(Buffer.from(bytes), 0, [0, bytes.length]);
    expect(field([0x20, 0x31, 0x37, 0x20, 0])).toBe(0o17);
    expect(field([0, 0, 0, 0])).toBe(0);
    expect(field([0x80, 0, 0, 0, 0, 0x01, 0, 0, 0, 0])).toBe(2 ** 32);
    expect(field([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe])).toBe(-2);
    expect(() => field([0x80, 0x20, 0, 0, 0, 0, 0, 0, 0])).toThrow(/number/);
    expect(() => field([0x31, 0x39, 0, 0])).toThrow(/number/);
  });

  it('are read as they were written', () => {
    const block = Buffer.alloc(1024, 0x55);
    const fields = { type: '3', name: 'n'.repeat(100), prefix: 'p', target: 't', mode: 0o1777 };
    writeHeader(block, 512, { ...fields, uid: 5, gid: 6, size: 7, mtime: 8, major: 9, minor: 10 });
    expect(readHeader(block, 512)).toMatchObject({
      ...{ type: '3', name: `p/${'n'.repeat(100)}`, target: 't', mode: 0o1777, uid: 5, gid: 6 },
      ...{ size: 7, mtime: 8, major: 9, minor: 10, form: 'ustar' },
    });
    expect(block.subarray(0, 512).every((byte) => byte === 0x55)).toBe(true);
    block[512 + FIELD.uid[0]] ^= 1;
    expect(() => readHeader(block, 512)).toThrow(/checksum/);
  });
});

describe('records', () => {
  it('count their own length', () => {
    for (const length of [0, 1, 90, 91, 92, 93, 985, 986, 987, 988, 9980]) {
      const text = record('k', 'v'.repeat(length));
      expect(Number(text.split(' ')[0])).toBe(text.length);
      const records = new Map<string, string>();
      readRecords(Buffer.from(text), records, () => undefined);
      expect(records.get('k')).toHaveLength(length);
    }
  });

  it.each([
    '',
    '5',
    '5 k=v',
    '6 k=v',
    '7 k=v\n',
    '6 kvv\n',
    '6 =vv\n',
    '99 k=v\n',
    'x k=v\n',
    '-6 k=v\n',
    '0 ',
  ])('are refused when they are %j', (text) => {
    const read = (): void => readRecords(Buffer.from(text), new Map(), () => undefined);
    if (text === '') expect(read).not.toThrow();
    else expect(read).toThrow(/extended header/);
  });

  it.each([
    ['0', 0, 0],
    ['1.5', 1, 500_000_000],
    ['-1.5', -2, 500_000_000],
    ['-0.000000001', -1, 999_999_999],
    ['4294967296.000000001', 4_294_967_296, 1],
  ])('have times: %s', (text, seconds, nanoseconds) => {
    expect(time(text)).toEqual({ seconds, nanoseconds });
    expect(timeText(seconds, nanoseconds)).toBe(text);
  });
});
