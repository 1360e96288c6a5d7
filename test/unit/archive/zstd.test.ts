/** zstd and gzip: several frames and members, pieces of any size, windows and bombs. */
import { spawnSync } from 'node:child_process';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decompress } from '../../../src/archive/compress.js';
import { gzip } from '../../../src/archive/gzip.js';
import { unzstd } from '../../../src/archive/zstd.js';
import { has } from '../../support/needs.js';
import { pieces } from '../../support/tarball.js';

async function all(bytes: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of bytes) parts.push(part);
  return Buffer.concat(parts);
}

const TEXT = Buffer.from(
  Array.from({ length: 60_000 }, (_, i) => `line ${i * 7919} of some text\n`).join(''),
);

/** A frame's header and one block that repeats a byte 128 KiB times, over and over. */
function bomb(blocks: number, window: number): Buffer {
  const repeat = (last: boolean): number[] => {
    const word = (131_072 << 3) | (1 << 1) | (last ? 1 : 0);
    return [word & 0xff, (word >> 8) & 0xff, (word >> 16) & 0xff, 0x61];
  };
  const body = Array.from({ length: blocks }, (_, i) => repeat(i === blocks - 1)).flat();
  return Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, window, ...body]);
}

describe('unzstd', () => {
  const compressed = (args: readonly string[], input: Buffer): Buffer =>
    spawnSync('zstd', ['-c', ...args], { input, maxBuffer: 2 ** 30 }).stdout;

  it.runIf(has({ programs: ['zstd'] }))(
    'reads what zstd writes, in pieces of any size',
    async () => {
      for (const args of [['-3'], ['-19', '--check'], ['-1', '--no-check']]) {
        const bytes = compressed(args, TEXT);
        const twice = Buffer.concat([bytes, compressed(['-3'], Buffer.from('more'))]);
        for (const size of [7, 1000, twice.length]) {
          const plain = await all(unzstd(pieces(twice, size)));
          expect(plain.equals(Buffer.concat([TEXT, Buffer.from('more')]))).toBe(true);
        }
      }
    },
  );

  it.runIf(has({ programs: ['zstd'] }))('passes frames over that are to be skipped', async () => {
    const skipped = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const bytes = Buffer.concat([skipped, compressed(['-3'], TEXT), skipped]);
    const { compression, bytes: plain } = await decompress(pieces(bytes, 100));
    expect(compression).toBe('zstd');
    expect((await all(plain)).equals(TEXT)).toBe(true);
  });

  it.runIf(has({ programs: ['zstd'] }))('is read whole or not at all, on every Node', async () => {
    const one = compressed(['-3'], TEXT);
    const { bytes: twice } = await decompress(pieces(Buffer.concat([one, one]), 1000));
    expect((await all(twice)).equals(Buffer.concat([TEXT, TEXT]))).toBe(true);
    const { bytes: cut } = await decompress(pieces(one.subarray(0, -5), 1000));
    await expect(all(cut)).rejects.toThrow(/zstd stream/);
  });

  it('gives a bomb a little at a time', async () => {
    let largest = 0;
    let size = 0;
    for await (const part of unzstd(pieces(bomb(2000, 0x38)))) {
      largest = Math.max(largest, part.length);
      size += part.length;
    }
    expect(size).toBe(2000 * 131_072);
    expect(largest).toBeLessThanOrEqual(131_072);
  });

  it('refuses windows that zstd refuses, and streams that are none or cut off', async () => {
    await expect(all(unzstd(pieces(bomb(1, 0x90))))).rejects.toThrow(/window/);
    await expect(all(unzstd(pieces(Buffer.from('no zstd at all'))))).rejects.toThrow(/no zstd/);
    await expect(all(unzstd(pieces(bomb(5, 0x38).subarray(0, 15))))).rejects.toThrow(/zstd stream/);
  });
});

describe('gzip', () => {
  it('gives the same members however the bytes come, and any reader takes them', async () => {
    const whole = await all(gzip(pieces(TEXT)));
    expect(gunzipSync(whole).equals(TEXT)).toBe(true);
    for (const size of [1000, 700_001])
      expect((await all(gzip(pieces(TEXT, size)))).equals(whole)).toBe(true);
    expect(gunzipSync(await all(gzip(pieces(Buffer.alloc(0)))))).toHaveLength(0);
  });

  it('of several members is read', async () => {
    const bytes = Buffer.concat([gzipSync('a'), gzipSync(''), gzipSync('b')]);
    const { compression, bytes: plain } = await decompress(pieces(bytes, 5));
    expect(compression).toBe('gzip');
    expect((await all(plain)).toString()).toBe('ab');
  });

  it('is told from other programs by the first bytes', async () => {
    await expect(decompress(pieces(Buffer.from('\xfd7zXZ\0', 'latin1')))).rejects.toThrow(/xz/);
    await expect(decompress(pieces(Buffer.from('BZh91AY')))).rejects.toThrow(/bzip2/);
    expect((await decompress(pieces(Buffer.alloc(0)))).compression).toBe('none');
  });
});
