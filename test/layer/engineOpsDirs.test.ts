/** READDIR and READDIRPLUS, byte for byte: records, cookies, lookups. */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, readIn, type Reply, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file, symlink, whiteout } from '../support/tree.js';
import { fuseAttr } from '../support/wireStat.js';

/** Not UTF-8, with a newline. */
const ODD = '\xff\xfe\n\x80';
const LONGEST = '\xe4'.repeat(255);
const IN_BOTH = ['a', 'b', ODD, LONGEST, 'sub', 'sym'];

let e: Engine;
beforeEach(async () => {
  e = await Engine.open({
    lowers: [
      [
        dir('d'),
        file('d/a'),
        file(`d/${ODD}`),
        dir('d/sub'),
        symlink('d/sym', 'x'),
        file('d/gone'),
      ],
      [dir('d'), file('d/a', 'hidden'), file('d/b'), file(`d/${LONGEST}`), dir('d/sub'), dir('e')],
    ],
    upper: [dir('d'), whiteout('d/gone'), whiteout('d/never')],
  });
});
afterEach(() => {
  e.close();
});

interface Record {
  readonly name: string;
  readonly ino: bigint;
  readonly off: bigint;
  readonly type: number;
  /** READDIRPLUS: the bytes of fuse_entry_out. */
  readonly entry: Buffer;
}

/** The records of a reply; throws when one is malformed. */
function records(reply: Reply, plus: boolean): Record[] {
  const { body } = reply;
  const found: Record[] = [];
  for (let at = 0; at < body.length; ) {
    const dirent = at + (plus ? 128 : 0);
    const length = body.readUInt32LE(dirent + 16);
    const end = dirent + 24 + length;
    const padded = at + Math.ceil((end - at) / 8) * 8;
    if (padded > body.length) throw new Error('a record goes beyond the reply');
    if (body.subarray(end, padded).some((byte) => byte !== 0)) throw new Error('padding is not 0');
    found.push({
      name: body.toString('latin1', dirent + 24, end),
      ino: body.readBigUInt64LE(dirent),
      off: body.readBigUInt64LE(dirent + 8),
      type: body.readUInt32LE(dirent + 20),
      entry: body.subarray(at, dirent),
    });
    at = padded;
  }
  return found;
}

const list = (op: number, node: number, offset: bigint, size: number): Reply =>
  e.must(op, node, readIn(offset, size));

/** The whole listing, read in replies of `size` bytes. */
function whole(node: number, plus: boolean, size: number): Record[] {
  const all: Record[] = [];
  for (let offset = 0n; ; offset = all.at(-1)?.off ?? 0n) {
    const part = records(list(plus ? Op.READDIRPLUS : Op.READDIR, node, offset, size), plus);
    if (part.length === 0) return all;
    all.push(...part);
  }
}

const names = (found: readonly Record[]): string[] => found.map(({ name }) => name);

describe.skipIf(!has({ root: true }))('READDIR', () => {
  it('begins with "." and "..", with cookies 1 and 2', () => {
    const reply = list(Op.READDIR, e.node('e'), 0n, 4096);
    const own = lstatSync(join(e.top, 'lower1/e'), { bigint: true }).ino;
    const root = lstatSync(join(e.top, 'upper'), { bigint: true }).ino;
    expect(reply.body).toEqual(wire`
      ${u64(own)}               ino
      01 00 00 00 00 00 00 00   off
      01 00 00 00               namelen
      04 00 00 00               type DT_DIR
      2e 00 00 00 00 00 00 00   name ".", padding
      ${u64(root)}              ino
      02 00 00 00 00 00 00 00   off
      02 00 00 00               namelen
      04 00 00 00               type DT_DIR
      2e 2e 00 00 00 00 00 00   name "..", padding`);
  });

  it('merges: every name once, whiteouts and what they hide never', () => {
    const found = whole(e.node('d'), false, 4096);
    expect(names(found).toSorted()).toEqual(['.', '..', ...IN_BOTH].toSorted());
    const types = new Map(found.map(({ name, type }) => [name, type]));
    expect(['a', 'sub', 'sym', ODD].map((name) => types.get(name))).toEqual([8, 4, 10, 8]);
  });

  it('shows the inode number that LOOKUP shows', () => {
    const d = e.node('d');
    for (const { name, ino } of whole(d, false, 4096)) {
      if (name.startsWith('.')) continue;
      expect(e.lookup(d, name).u64(40), name).toBe(ino);
    }
  });

  it.each([304, 305, 400, 600, 4096, 1 << 20])(
    'gives the same listing in replies of %i bytes',
    (size) => {
      const d = e.node('d');
      expect(whole(d, false, size)).toEqual(whole(d, false, 65536));
    },
  );

  it('gives nothing when not one record fits, and nothing at the end', () => {
    const d = e.node('d');
    expect(list(Op.READDIR, d, 0n, 31).body).toHaveLength(0);
    const last = whole(d, false, 4096).at(-1)?.off ?? 0n;
    expect(list(Op.READDIR, d, last, 4096).body).toHaveLength(0);
    expect(list(Op.READDIR, d, (1n << 63n) - 1n, 4096).body).toHaveLength(0);
  });

  it('has rising cookies that fit a signed 64-bit number', () => {
    const offs = whole(e.node('d'), false, 4096).map(({ off }) => off);
    expect(offs).toEqual(offs.toSorted((a, b) => (a < b ? -1 : 1)));
    expect(new Set(offs).size).toBe(offs.length);
    expect(offs.every((off) => off > 0n && off < 1n << 63n)).toBe(true);
  });

  it('resumes at the same place after changes: cookies stay with their names', () => {
    const d = e.node('d');
    const before = whole(d, false, 4096);
    const middle = Math.floor(before.length / 2);
    // A file near the middle, whatever the names' order.
    const cut = before.findIndex(({ type }, at) => at >= middle && type === 8);
    e.must(Op.UNLINK, d, wire`${cstr(before[cut].name)}`);
    e.must(Op.MKNOD, d, wire`${u32(0o100600)} ${u32(0)} ${u64(0)} ${cstr('fresh')}`);
    const after = records(list(Op.READDIR, d, before[cut - 1].off, 65536), false);
    const rest = names(after).filter((name) => name !== 'fresh');
    expect(rest).toEqual(names(before.slice(cut + 1)));
    for (const { name, off } of before) {
      const now = whole(d, false, 4096).find((record) => record.name === name);
      expect(now?.off ?? off).toBe(off);
    }
  });

  it('is the same, cookies and all, in another mount of the same layers', async () => {
    const before = whole(e.node('d'), false, 4096).map(({ name, off }) => [name, off]);
    e.close();
    e = await Engine.open({ lowers: [[dir('d'), ...IN_BOTH.map((name) => file(`d/${name}`))]] });
    expect(whole(e.node('d'), false, 4096).map(({ name, off }) => [name, off])).toEqual(before);
  });

  it('looks nothing up: no node comes of it', () => {
    const d = e.node('d');
    const size = e.ov.table.size;
    whole(d, false, 4096);
    expect(e.ov.table.size).toBe(size);
  });
});

describe.skipIf(!has({ root: true }))('READDIRPLUS', () => {
  it('carries with each name what LOOKUP would', () => {
    const d = e.node('d');
    const found = whole(d, true, 65536);
    expect(names(found)).toEqual(names(whole(d, false, 65536)));
    for (const { name, entry, ino, type } of found) {
      if (name === '.' || name === '..') {
        expect(entry.every((byte) => byte === 0)).toBe(true); // no lookup comes with these
        continue;
      }
      const looked = e.lookup(d, name);
      expect(entry, name).toEqual(looked.body);
      expect(looked.u64(40)).toBe(ino);
      expect(looked.u32(40 + 60) >> 12).toBe(type);
    }
  });

  it('carries the attributes of the topmost object', () => {
    const record = whole(e.node('d'), true, 65536).find(({ name }) => name === 'a');
    expect(record?.entry.subarray(40)).toEqual(fuseAttr(join(e.top, 'lower0/d/a')));
  });

  it('gives one lookup with each entry, and none with "." and ".."', () => {
    const d = e.node('d');
    const nodes = whole(d, true, 65536).map(({ entry }) => entry.readUInt32LE(0));
    expect(e.ov.table.size).toBe(2 + IN_BOTH.length);
    for (const node of nodes) if (node !== 0) e.forget(node);
    e.forget(d);
    expect(e.ov.table.size).toBe(1);
  });

  it.each([432, 500, 1000, 4096])(
    'gives the same listing in replies of %i bytes, and no lookup for what did not fit',
    (size) => {
      const d = e.node('d');
      const found = whole(d, true, size);
      expect(names(found)).toEqual(names(whole(d, false, 65536)));
      for (const { entry } of found) {
        const node = entry.readUInt32LE(0);
        if (node !== 0) e.forget(node);
      }
      e.forget(d);
      expect(e.ov.table.size).toBe(1);
    },
  );

  it('of a large directory lists every name, with or without attributes', () => {
    const d = e.node('d');
    for (let i = 0; i < 5000; i++) {
      const body = wire`${u32(0o100600)} ${u32(0)} ${u64(0)} ${cstr(`f${i}`)}`;
      e.forget(e.must(Op.MKNOD, d, body).u32(0));
    }
    const found = whole(d, true, 65536);
    expect(new Set(names(found)).size).toBe(2 + IN_BOTH.length + 5000);
    expect(found).toHaveLength(2 + IN_BOTH.length + 5000);
    expect(found.every(({ ino }) => ino !== 0n)).toBe(true);
  });
});

describe.skipIf(!has({ root: true }))('a listing kept by the engine', () => {
  it('follows what is made, removed, renamed and linked', () => {
    const d = e.node('d');
    const shown = (): string[] =>
      names(whole(d, false, 65536))
        .filter((name) => !name.startsWith('.'))
        .toSorted();
    const expected = new Set(IN_BOTH);
    const same = (): void => {
      expect(shown()).toEqual([...expected].toSorted());
    };
    same();
    e.must(Op.UNLINK, d, wire`${cstr('a')}`);
    expected.delete('a');
    same();
    e.must(Op.MKNOD, d, wire`${u32(0o100600)} ${u32(0)} ${u64(0)} ${cstr('a')}`);
    expected.add('a');
    same();
    e.must(Op.RENAME, d, wire`${u64(d)} ${cstr('b')} ${cstr('b2')}`);
    expected.delete('b');
    expected.add('b2');
    same();
    e.must(Op.LINK, d, wire`${u64(e.node('d/a'))} ${cstr('a2')}`);
    expected.add('a2');
    same();
    e.must(Op.RENAME2, d, wire`${u64(d)} ${u32(2)} ${u32(0)} ${cstr('a')} ${cstr('sym')}`);
    same();
    const types = new Map(whole(d, false, 65536).map(({ name, type }) => [name, type]));
    expect([types.get('a'), types.get('sym')]).toEqual([10, 8]);
    e.must(Op.MKDIR, d, wire`${u32(0o700)} ${u32(0)} ${cstr('gone')}`);
    expected.add('gone');
    same();
  });
});
