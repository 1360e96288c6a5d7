/** The allocator behind the inode table: blocks never overlap, and what is given back is used again. */
import { fstatSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Arena } from '../../../src/overlay/inodes/arena.js';
import { loadNative } from '../../../src/sys/native.js';
import { arenaFiles } from '../../support/memfd.js';
import { Random } from '../../differential/random.js';

const EVERY_BYTE = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1)).join('');

let arena: Arena;
let file: number;
beforeEach(() => {
  const before = arenaFiles();
  arena = new Arena(loadNative());
  file = arenaFiles().find((fd) => !before.includes(fd)) ?? -1;
});
afterEach(() => {
  arena.close();
});

interface Block {
  readonly unit: number;
  readonly bytes: number;
  readonly mark: number;
}

function fill({ unit, bytes, mark }: Block): void {
  arena.u8.fill(mark, unit * 16, unit * 16 + bytes);
}

function intact({ unit, bytes, mark }: Block): boolean {
  const at = unit * 16;
  return arena.u8.subarray(at, at + bytes).every((byte) => byte === mark);
}

describe('blocks', () => {
  it.each([1, 2, 3])('keep their content through random work and growth (seed %i)', (seed) => {
    const random = new Random(seed);
    const before = arena.used;
    const blocks: Block[] = [];
    for (let i = 0; i < 6000; i++) {
      if (blocks.length > 0 && random.chance(45)) {
        const [block] = blocks.splice(random.below(blocks.length), 1);
        expect(intact(block)).toBe(true);
        arena.free(block.unit, block.bytes);
      } else {
        const large = random.chance(3);
        const bytes = 1 + random.below(large ? 40_000 : random.chance(20) ? 2100 : 80);
        const block = { unit: arena.alloc(bytes), bytes, mark: random.below(256) };
        fill(block);
        blocks.push(block);
      }
    }
    expect(blocks.every(intact)).toBe(true);
    expect(arena.used).toBeGreaterThanOrEqual(before + blocks.reduce((n, b) => n + b.bytes, 0));
    for (const { unit, bytes } of blocks) arena.free(unit, bytes);
    expect(arena.used).toBe(before);
  });

  it('are aligned to their size class up to 64 bytes, so that a record number is unit / 4', () => {
    for (let i = 0; i < 300; i++) {
      arena.alloc(16);
      expect(arena.alloc(64) % 4).toBe(0);
      arena.alloc(48);
    }
  });

  it('never are block 0, which means "none", nor in the first page', () => {
    for (const bytes of [1, 16, 64, 2048, 2049, 10_000]) {
      expect(arena.alloc(bytes)).toBeGreaterThanOrEqual(256);
    }
  });

  it('are used again: a thousand rounds of the same work take no more memory', () => {
    const size = (): number => arena.u8.byteLength;
    const round = (): void => {
      const units = Array.from({ length: 100 }, (_, i) => arena.alloc(16 * (1 + (i % 40))));
      units.forEach((unit, i) => {
        arena.free(unit, 16 * (1 + (i % 40)));
      });
    };
    round();
    const after = size();
    for (let i = 0; i < 1000; i++) round();
    expect(size()).toBe(after);
  });

  it.each([
    ['2 KiB to 4 KiB', 2049, 4096],
    ['up to 40 KB', 2049, 40_000],
    ['all sizes', 1, 65_536],
  ])('are used again when they are of whole pages, too: %s', (_, least, most) => {
    const random = new Random(1);
    const sizes = Array.from({ length: 50 }, () => least + random.below(most - least));
    const round = (): void => {
      const units = sizes.map((bytes) => arena.alloc(bytes));
      for (const [i, unit] of units.entries()) arena.free(unit, sizes[i]);
    };
    round();
    round();
    const after = arena.u8.byteLength;
    for (let i = 0; i < 500; i++) round();
    expect(arena.u8.byteLength).toBe(after);
  });

  it('of several pages serve small ones when they are free', () => {
    const large = Array.from({ length: 200 }, () => arena.alloc(40_000));
    for (const unit of large) arena.free(unit, 40_000);
    const after = arena.u8.byteLength;
    for (let i = 0; i < 200 * 9 * 256; i++) arena.alloc(16);
    expect(arena.u8.byteLength).toBe(after);
  });

  it('grow the arena over several doublings', () => {
    const first = arena.alloc(64);
    arena.u32[first * 4] = 0x1234abcd;
    const start = arena.u8.byteLength;
    while (arena.u8.byteLength < start * 64) arena.alloc(1 << 16);
    expect(arena.u32[first * 4]).toBe(0x1234abcd);
  });
});

/** Bytes of memory the arena has. */
const resident = (): number => {
  return fstatSync(file).blocks * 512;
};

describe('what is given back', () => {
  it.each([1, 2, 3, 4])('is memory no block is in, whatever is in use (seed %i)', (seed) => {
    const random = new Random(seed);
    const before = arena.used;
    const blocks: Block[] = [];
    const sizes = [16, 32, 64, 64, 64, 300, 2000, 5000, 70_000];
    for (let round = 0; round < 12; round++) {
      const keep = random.below(100);
      for (let i = 0; i < 800; i++) {
        const bytes = sizes[random.below(sizes.length)];
        const block = { unit: arena.alloc(bytes), bytes, mark: random.below(256) };
        fill(block);
        blocks.push(block);
      }
      const rest = blocks.splice(0).filter((block) => {
        if (random.chance(keep)) return true;
        arena.free(block.unit, block.bytes);
        return false;
      });
      blocks.push(...rest);
      arena.trim();
      expect(blocks.every(intact)).toBe(true);
      expect(resident()).toBeLessThanOrEqual(arena.used + arena.slack);
    }
    for (const { unit, bytes } of blocks) arena.free(unit, bytes);
    arena.trim();
    // The block that names the holes.
    expect(arena.used - before).toBeLessThanOrEqual(16);
    expect(resident()).toBeLessThan(64 * 1024);
  });

  it('comes back as zeros, and serves large and small blocks again', () => {
    const fresh = arena.u8.byteLength;
    const large = arena.alloc(100_000);
    const last = arena.alloc(1 << 20);
    arena.u8.fill(7, large * 16, large * 16 + 100_000);
    arena.free(large, 100_000);
    arena.trim();
    const again = arena.alloc(90_000);
    expect(again).toBe(large);
    expect(arena.u8.subarray(again * 16, again * 16 + 90_000).every((byte) => byte === 0)).toBe(
      true,
    );
    arena.free(last, 1 << 20);
    arena.free(again, 90_000);
    arena.trim();
    for (let i = 0; i < 3000; i++) arena.alloc(64);
    expect(arena.u8.byteLength).toBeLessThanOrEqual(Math.max(fresh, 1 << 21));
  });

  it('is worth it when more than a quarter of what is used is free, and not again at once', () => {
    const units = Array.from({ length: 100_000 }, () => arena.alloc(64));
    expect(arena.slackens).toBe(false);
    // One block of each page stays: none can go.
    for (const [i, unit] of units.entries()) if (i % 64 !== 0) arena.free(unit, 64);
    expect(arena.slackens).toBe(true);
    arena.trim();
    expect(arena.slackens).toBe(false);
    for (const [i, unit] of units.entries()) if (i % 64 === 0) arena.free(unit, 64);
    arena.trim();
    expect(resident()).toBeLessThan(64 * 1024);
  });
});

describe('names', () => {
  it('keep every byte value and every length', () => {
    const names = [EVERY_BYTE, '', 'x', ...Array.from({ length: 255 }, (_, i) => 'n'.repeat(i))];
    const units = names.map((name) => arena.putName(name));
    names.forEach((name, i) => {
      expect(arena.name(units[i])).toBe(name);
      expect(arena.nameEquals(units[i], name)).toBe(true);
      expect(arena.nameEquals(units[i], `${name}x`)).toBe(false);
    });
    expect(arena.nameEquals(units[2], 'y')).toBe(false);
  });

  it('take their block back', () => {
    const before = arena.used;
    for (const length of [1, 12, 13, 28, 255]) arena.freeName(arena.putName('a'.repeat(length)));
    expect(arena.used).toBe(before);
  });
});
