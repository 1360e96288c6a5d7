/** The inode table against a model of plain Maps, over seeded random operations. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InodeTable } from '../../../src/overlay/inodes/table.js';
import { loadNative } from '../../../src/sys/native.js';
import { Random } from '../../differential/random.js';
import { TableModel } from './tableModel.js';

const ROOT = 1;
const EVERY_BYTE = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1));
const nothing = (): void => undefined;

let table: InodeTable;
beforeEach(() => {
  table = new InodeTable(loadNative());
});
afterEach(() => {
  table.arena.close();
});

/** A node with one lookup. */
function add(parent: number, name: string, mode = 0o100644): number {
  const node = table.create(parent, name, mode);
  table.remember(node);
  return node;
}

describe('against a model', () => {
  it.each([1, 2, 3, 4, 5, 6])('agrees after every step (seed %i)', (seed) => {
    const before = table.arena.used;
    const model = new TableModel(table, new Random(seed));
    for (let i = 0; i < 4000; i++) {
      model.step();
      if (i % 100 === 0) model.check();
    }
    model.check();
    model.forgetAll();
    expect(table.size).toBe(1);
    // Buckets grow with the table and stay: what is compared is what nodes take.
    expect(table.arena.used - model.bucketBytes(before)).toBe(0);
  });
});

describe('a node', () => {
  it('is found by parent and name, for names of every byte and length', () => {
    const names = [...EVERY_BYTE, EVERY_BYTE.join(''), '\xff'.repeat(255), 'a'.repeat(255)];
    const nodes = names.map((name) => add(ROOT, name));
    names.forEach((name, i) => {
      expect(table.byName(ROOT, name)).toBe(nodes[i]);
      expect(table.name(nodes[i])).toBe(name);
      expect(table.byName(nodes[0], name)).toBe(0);
    });
  });

  it('keeps its fields apart from the state flags', () => {
    const node = add(ROOT, 'n', 0o104755);
    table.set(node, 1 << 16);
    table.set(node, 1 << 21);
    expect(table.mode(node)).toBe(0o104755);
    table.setMode(node, 0o100000);
    expect(table.has(node, 1 << 16)).toBe(true);
    table.clear(node, 1 << 16);
    expect(table.has(node, 1 << 16)).toBe(false);
    expect(table.has(node, 1 << 21)).toBe(true);
    table.setIno(node, 0xffffffff, 0x80000001);
    expect([table.inoLo(node), table.inoHi(node)]).toEqual([0xffffffff, 0x80000001]);
  });

  it('has another generation than the node that had its number before', () => {
    const first = add(ROOT, 'a');
    const generation = table.generation(first);
    table.forget(first, 1, 0, nothing);
    const second = add(ROOT, 'b');
    expect(second).toBe(first);
    expect(table.generation(second)).not.toBe(generation);
  });

  it('does not exist before the first and after the last lookup', () => {
    expect(table.exists(ROOT)).toBe(true);
    expect(table.exists(0xffffffff)).toBe(false);
    const node = add(ROOT, 'a');
    expect(table.exists(node)).toBe(true);
    table.forget(node, 1, 0, nothing);
    expect(table.exists(node)).toBe(false);
  });
});

describe('forget', () => {
  it('counts lookups beyond 2^32 exactly', () => {
    const node = add(ROOT, 'a');
    // 2^32 + 5 lookups: 5 by remember, the rest as if they had been made.
    const u32 = table.arena.u32;
    const words = [...u32.subarray(node * 16, node * 16 + 16)];
    const lo = words.findIndex((word, i) => word === 1 && isCount(node, i));
    u32[node * 16 + lo] = 0xffffffff;
    table.remember(node);
    expect(table.lookups(node)).toBe(2 ** 32);
    for (let i = 0; i < 5; i++) table.remember(node);
    expect(table.lookups(node)).toBe(2 ** 32 + 5);
    table.forget(node, 6, 0, nothing);
    expect(table.lookups(node)).toBe(2 ** 32 - 1);
    u32[node * 16 + lo + 1] = 3;
    table.forget(node, 0xfffffffe, 2, nothing);
    expect(table.lookups(node)).toBe(2 ** 32 + 1);
    expect(table.exists(node)).toBe(true);
    table.forget(node, 1, 1, nothing);
    expect(table.exists(node)).toBe(false);
  });

  /** True when word `i` of the record is the low half of the lookup count. */
  function isCount(node: number, i: number): boolean {
    const at = node * 16 + i;
    table.arena.u32[at]++;
    const hit = table.lookups(node) === 2;
    table.arena.u32[at]--;
    return hit;
  }

  it('never forgets the root, nor goes below zero, nor minds an unknown node', () => {
    table.forget(ROOT, 1000, 1000, nothing);
    expect(table.exists(ROOT)).toBe(true);
    const node = add(ROOT, 'a');
    const other = add(ROOT, 'b');
    table.forget(node, 99, 7, nothing);
    expect(table.exists(node)).toBe(false);
    expect(() => {
      table.forget(node, 1, 0, nothing);
      table.forget(0, 1, 0, nothing);
      table.forget(0x7fffffff, 1, 0, nothing);
    }).not.toThrow();
    expect(table.exists(other)).toBe(true);
    expect(table.size).toBe(2);
  });

  it('ends a directory only after its last child, and tells of each node before it goes', () => {
    const a = add(ROOT, 'a', 0o040755);
    const b = add(a, 'b', 0o040755);
    const c = add(b, 'c');
    const told: string[] = [];
    const dropped = (node: number): void => {
      told.push(table.name(node));
    };
    table.forget(a, 1, 0, dropped);
    table.forget(b, 1, 0, dropped);
    expect(told).toEqual([]);
    expect(table.byName(ROOT, 'a')).toBe(a);
    table.forget(c, 1, 0, dropped);
    expect(told).toEqual(['c', 'b', 'a']);
    expect(table.size).toBe(1);
  });

  it('ends a chain of 100,000 directories without running out of stack', () => {
    let node = ROOT;
    const nodes: number[] = [];
    for (let i = 0; i < 100_000; i++) nodes.push((node = add(node, 'd', 0o040755)));
    for (const each of nodes) table.forget(each, 1, 0, nothing);
    expect(table.size).toBe(1);
  });
});

describe('names of a node', () => {
  it('an alias holds its directory, and the node has both names', () => {
    const d = add(ROOT, 'd', 0o040755);
    const file = add(ROOT, 'file');
    table.addAlias(file, d, 'also');
    table.addAlias(file, d, 'also');
    expect(table.hasName(file, d, 'also')).toBe(true);
    expect(table.hasOtherName(file, ROOT, 'file')).toBe(true);
    table.forget(d, 1, 0, nothing);
    expect(table.exists(d)).toBe(true);
    expect(table.removeAlias(file, d, 'also', nothing)).toBe(true);
    expect(table.removeAlias(file, d, 'also', nothing)).toBe(false);
    expect(table.exists(d)).toBe(false);
    expect(table.hasOtherName(file, ROOT, 'file')).toBe(false);
  });

  it('aliases go with the node, and release the directories that they held', () => {
    const before = table.arena.used;
    const d = add(ROOT, 'd', 0o040755);
    const file = add(ROOT, 'file');
    for (let i = 0; i < 50; i++) table.addAlias(file, d, `name${i}`);
    table.forget(d, 1, 0, nothing);
    table.forget(file, 1, 0, nothing);
    expect(table.size).toBe(1);
    expect(table.arena.used).toBe(before);
  });

  it('a detached node keeps its text but is found by no name', () => {
    const node = add(ROOT, 'gone');
    table.detachName(node);
    table.detachName(node);
    expect(table.byName(ROOT, 'gone')).toBe(0);
    expect(table.name(node)).toBe('gone');
    const next = add(ROOT, 'gone');
    expect(table.byName(ROOT, 'gone')).toBe(next);
    table.forget(node, 1, 0, nothing);
    expect(table.byName(ROOT, 'gone')).toBe(next);
  });

  it('a node without a name gets one by rename', () => {
    const node = add(ROOT, '');
    expect(table.byName(ROOT, '')).toBe(0);
    table.rename(node, ROOT, 'linked', nothing);
    expect(table.byName(ROOT, 'linked')).toBe(node);
  });

  it('rename moves the hold from the old directory to the new one', () => {
    const a = add(ROOT, 'a', 0o040755);
    const b = add(ROOT, 'b', 0o040755);
    const file = add(a, 'f');
    table.forget(a, 1, 0, nothing);
    table.rename(file, b, 'g', nothing);
    expect(table.exists(a)).toBe(false);
    table.forget(b, 1, 0, nothing);
    expect(table.exists(b)).toBe(true);
    expect(table.byName(b, 'g')).toBe(file);
  });
});

describe('keys', () => {
  it('tell layers and both halves of the inode number apart', () => {
    const keys: readonly (readonly [number, number, number])[] = [
      [1, 5, 0],
      [2, 5, 0],
      [1, 5, 1],
      [1, 0, 5],
      [1, 0xffffffff, 0xffffffff],
    ];
    const nodes = keys.map((key, i) => {
      const node = add(ROOT, `k${i}`);
      table.setKey(node, ...key);
      return node;
    });
    keys.forEach((key, i) => {
      expect(table.byKey(...key)).toBe(nodes[i]);
    });
    expect(table.byKey(3, 5, 0)).toBe(0);
    table.setKey(nodes[0], 2, 6, 0);
    expect(table.byKey(1, 5, 0)).toBe(0);
    expect(table.byKey(2, 6, 0)).toBe(nodes[0]);
    table.setKey(nodes[0], 0, 0, 0);
    expect(table.byKey(2, 6, 0)).toBe(0);
    table.forget(nodes[1], 1, 0, nothing);
    expect(table.byKey(2, 5, 0)).toBe(0);
  });
});

describe('size', () => {
  it('holds 100,000 nodes at no more than 200 bytes and the name each', () => {
    const before = table.arena.used;
    const count = 100_000;
    let names = 0;
    for (let i = 0; i < count; i++) {
      const name = `file-${i}.txt`;
      const node = add(ROOT, name);
      table.setKey(node, 1, i, 0);
      names += name.length;
    }
    expect(table.size).toBe(count + 1);
    expect((table.arena.used - before - names) / count).toBeLessThanOrEqual(200);
    for (let i = 0; i < count; i++) {
      expect(table.byKey(1, i, 0)).toBe(table.byName(ROOT, `file-${i}.txt`));
    }
    // The mapping itself must not be a multiple of what is used.
    expect(table.arena.u8.byteLength / count).toBeLessThan(600);
  });
});

describe('a successor', () => {
  it('takes names, key, lower and flags over, and ends after its predecessors', () => {
    const used = table.arena.used;
    const dir = add(ROOT, 'd', 0o040755);
    const old = add(dir, 'f');
    table.addAlias(old, ROOT, 'alias');
    table.setKey(old, 3, 4, 5);
    table.setIno(old, 6, 7);
    table.setLower(old, 8);
    table.set(old, 1 << 16);
    const first = table.succeed(old);
    const second = table.succeed(first);
    table.remember(second);
    for (const node of [old, first, second]) expect(table.current(node)).toBe(second);
    expect([table.byName(dir, 'f'), table.byKey(3, 4, 5)]).toEqual([second, second]);
    expect(table.hasName(second, ROOT, 'alias')).toBe(true);
    expect([table.inoLo(second), table.inoHi(second), table.lower(second)]).toEqual([6, 7, 8]);
    expect([table.has(second, 1 << 16), table.has(old, 1 << 16)]).toEqual([true, false]);
    expect(table.lower(old)).toBe(0);
    expect(new Set([old, first, second].map((node) => table.generation(node))).size).toBe(3);

    const ended: number[] = [];
    const end = (node: number): void => {
      ended.push(node);
    };
    table.forget(dir, 1, 0, end);
    table.forget(second, 1, 0, end);
    expect(ended).toEqual([]);
    table.setLower(second, 0);
    table.forget(old, 1, 0, end);
    expect(ended).toEqual([old, first, second, dir]);
    expect([table.size, table.arena.used]).toEqual([1, used]);
  });
});
