/** Descriptors are a budget: little room makes the engine slower, never wrong. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { FdCache, FdKind } from '../../src/overlay/data/fdCache.js';
import { Op } from '../../src/protocol/opcodes.js';
import { loadNative, type Native } from '../../src/sys/native.js';
import { Random } from '../differential/random.js';
import {
  cstr,
  Engine,
  type EngineParts,
  openDescriptors,
  readIn,
  u32,
  u64,
  wire,
} from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, type Entry, file } from '../support/tree.js';

const DEPTH = 30;

/** A directory in a directory … with a file in each. */
function deep(mark: string): Entry[] {
  const entries: Entry[] = [];
  for (let i = 0, path = ''; i < DEPTH; i++) {
    path += i === 0 ? 'd' : '/d';
    entries.push(dir(path), file(`${path}/${mark}`, `${mark}${i}`), file(`${path}/both`, mark));
  }
  return entries;
}
const at = (level: number, name: string): string => `${'d/'.repeat(level + 1)}${name}`;

const PARTS: EngineParts = { lowers: [deep('a'), deep('b')], fds: 4 };

describe.skipIf(!has({ root: true }))('an engine with four descriptors', () => {
  let e: Engine;
  beforeEach(async () => {
    e = await Engine.open(PARTS);
  });
  afterEach(() => {
    e.close();
  });

  it('answers for every object of a deep tree, in any order', () => {
    const random = new Random(7);
    const before = openDescriptors();
    for (let i = 0; i < 300; i++) {
      const level = random.below(DEPTH);
      const mark = random.pick(['a', 'b']);
      expect(e.text(at(level, mark))).toBe(`${mark}${level}`);
      expect(e.text(at(level, 'both'))).toBe('a');
      expect(openDescriptors() - before).toBeLessThanOrEqual(4);
    }
  });

  it('copies up a file with all the directories above it', () => {
    const body = wire`
      ${u64(0)} ${u64(0)}            fh, offset
      01 00 00 00                    size
      ${u32(0)} ${u64(0)} ${u64(0)}  write_flags, lock_owner, flags
      58                             data "X"`;
    e.must(Op.WRITE, e.node(at(DEPTH - 1, 'a')), body);
    expect(readFileSync(join(e.top, 'upper', at(DEPTH - 1, 'a')), 'latin1')).toBe('X29');
    expect(e.text(at(DEPTH - 1, 'b'))).toBe('b29');
  });

  it('lists, makes, renames and removes at the bottom', () => {
    const bottom = e.node(at(DEPTH - 2, 'd'));
    e.must(Op.MKDIR, bottom, wire`${u32(0o755)} ${u32(0)} ${cstr('new')}`);
    e.must(Op.RENAME, bottom, wire`${u64(1)} ${cstr('new')} ${cstr('top')}`);
    e.must(Op.LINK, bottom, wire`${u64(e.node(at(0, 'a')))} ${cstr('link')}`);
    e.must(Op.UNLINK, bottom, wire`${cstr('both')}`);
    const names = e.must(Op.READDIR, bottom, readIn(0, 4096)).text();
    expect(names).toContain('link');
    expect(names).not.toContain('both');
    expect(e.node('top')).toBeGreaterThan(1);
    expect(e.text(at(DEPTH - 1, 'link'))).toBe('a0');
  });

  it('keeps orphans readable', () => {
    const node = e.node(at(9, 'a'));
    e.must(Op.UNLINK, e.node(at(8, 'd')), wire`${cstr('a')}`);
    for (let level = 0; level < DEPTH; level++) e.text(at(level, 'b'));
    const read = wire`${u64(0)} ${u64(0)} ${u32(9)} ${u32(0)} ${u64(0)} ${u64(0)}`;
    expect(e.must(Op.READ, node, read).text()).toBe('a9');
  });

  it('gives everything back when the mount ends', () => {
    for (let level = 0; level < DEPTH; level++) e.text(at(level, 'a'));
    expect(e.fds.size).toBeGreaterThan(0);
    expect(e.fds.size).toBeLessThanOrEqual(4);
    e = e.reopen(PARTS);
    expect(e.fds.size).toBe(0);
  });
});

describe('the cache of descriptors', () => {
  let closed: number[];
  let cache: FdCache;
  beforeEach(() => {
    closed = [];
    const native: Native = {
      ...loadNative(),
      close: (fd: number) => {
        closed.push(fd);
        return 0;
      },
    };
    cache = new FdCache(native, 100);
  });

  it('keeps mounts and kinds apart', () => {
    const [a, b] = [cache.register(() => undefined), cache.register(() => undefined)];
    cache.put(a, FdKind.UpperDir, 0xffffffff, 10);
    cache.put(a, FdKind.LowerDir, 0xffffffff, 11);
    cache.put(b, FdKind.UpperDir, 0xffffffff, 12);
    expect(cache.get(a, FdKind.UpperDir, 0xffffffff)).toBe(10);
    expect(cache.get(a, FdKind.LowerDir, 0xffffffff)).toBe(11);
    expect(cache.get(a, FdKind.File, 0xffffffff)).toBeUndefined();
    cache.unregister(a);
    expect(closed.toSorted()).toEqual([10, 11]);
    expect(cache.get(b, FdKind.UpperDir, 0xffffffff)).toBe(12);
  });

  it('tells the owner of a file before its descriptor is closed, and of no directory', () => {
    const told: [number, number][] = [];
    const owner = cache.register((node) => told.push([node, closed.length]));
    cache.put(owner, FdKind.File, 5, 20);
    cache.put(owner, FdKind.UpperDir, 6, 21);
    cache.drop(owner, FdKind.File, 5);
    cache.drop(owner, FdKind.UpperDir, 6);
    cache.flush();
    expect(told).toEqual([[5, 0]]);
    expect(closed.toSorted()).toEqual([20, 21]);
  });

  it('closes each descriptor once, those used longest ago first', () => {
    const owner = cache.register(() => undefined);
    for (let i = 0; i < 150; i++) cache.put(owner, FdKind.LowerDir, i, 1000 + i);
    cache.flush();
    expect(cache.size).toBe(100);
    expect(closed.toSorted()).toEqual(Array.from({ length: 50 }, (_, i) => 1000 + i));
    expect(cache.shrink()).toBe(true);
    expect(cache.get(owner, FdKind.LowerDir, 149)).toBe(1149);
    cache.unregister(owner);
    expect(new Set(closed).size).toBe(closed.length);
    expect(closed).toHaveLength(150);
  });
});

describe('what a request has borrowed', () => {
  let closed: number[];
  let cache: FdCache;
  let owner: number;
  beforeEach(() => {
    closed = [];
    const native: Native = {
      ...loadNative(),
      close: (fd: number) => {
        closed.push(fd);
        return 0;
      },
    };
    cache = new FdCache(native, 100);
    owner = cache.register(() => undefined);
  });
  afterEach(() => {
    cache.unregister(owner);
  });

  it('is closed by nobody before the request ends', () => {
    for (let i = 0; i < 300; i++) cache.put(owner, FdKind.LowerDir, i, 2000 + i);
    for (let i = 0; i < 9; i++) expect(cache.shrink()).toBe(false);
    expect(closed).toEqual([]);
    cache.flush();
    expect(closed).toHaveLength(200);
    expect(cache.shrink()).toBe(true);
    expect(closed.length).toBeGreaterThan(200);
  });

  it('is closed when it was given back, but for what was borrowed before', () => {
    cache.put(owner, FdKind.UpperDir, 1, 3001);
    cache.flush();
    expect(cache.get(owner, FdKind.UpperDir, 1)).toBe(3001);
    const mark = cache.mark();
    cache.put(owner, FdKind.LowerDir, 2, 3002);
    expect(cache.get(owner, FdKind.UpperDir, 1)).toBe(3001);
    cache.release(mark);
    while (cache.shrink());
    expect(closed).toEqual([3002]);
  });
});

describe.skipIf(!has({ root: true }))('an engine whose process has hardly any descriptors', () => {
  /** More than a request of any depth may hold at once, beside the layers'. */
  const LEFT = 12;

  it('renames from the bottom of one chain to the bottom of another', async () => {
    const real = loadNative();
    const native = Object.create(real) as Native;
    let [open, most, limit] = [0, 0, Infinity];
    const counted = (fd: number): number => {
      if (fd >= 0) most = Math.max(most, ++open);
      return fd;
    };
    const openat2: Native['openat2'] = (...args) =>
      open >= limit ? -E.EMFILE : counted(real.openat2(...args));
    const openTree: Native['openTree'] = (...args) =>
      open >= limit ? -E.EMFILE : counted(real.openTree(...args));
    const close: Native['close'] = (fd) => {
      open--;
      return real.close(fd);
    };
    for (const [name, value] of Object.entries({ openat2, openTree, close })) {
      Object.defineProperty(native, name, { value });
    }
    const spec = { redirectDir: 'on', metacopy: true } as const;
    const e = await Engine.open({ lowers: [deep('a'), deep('b')], spec, fds: 1000, native });
    try {
      limit = open + LEFT;
      const [from, to] = [e.node(at(DEPTH - 2, 'd')), e.node(at(3, 'd'))];
      for (let turn = 0; turn < 20; turn++) {
        const names = turn % 2 === 0 ? [from, 'a', to, 'x'] : [to, 'x', from, 'a'];
        const [oldDir, old, newDir, fresh] = names as [number, string, number, string];
        e.must(Op.RENAME, oldDir, wire`${u64(newDir)} ${cstr(old)} ${cstr(fresh)}`);
        for (let level = 0; level < DEPTH; level++) e.text(at(level, 'b'));
      }
      expect(e.text(at(DEPTH - 1, 'a'))).toBe(`a${DEPTH - 1}`);
      expect(most).toBeLessThanOrEqual(limit);
    } finally {
      limit = Infinity;
      e.close();
    }
  });
});
