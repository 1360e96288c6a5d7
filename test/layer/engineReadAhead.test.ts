/** Which files are opened before they are read, in which orders of reading, and that they are the right ones then. */
import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type EngineParts, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, type Entry, file, symlink } from '../support/tree.js';

const AHEAD = 3;
const files = (path: string, from: number, count: number): Entry[] =>
  Array.from({ length: count }, (_, i) => file(`${path}/${path}${from + i}`, `${path}${from + i}`));

const PARTS: EngineParts = {
  lowers: [
    [dir('d'), ...files('d', 10, 12), dir('d/sub'), symlink('d/link', 'd10'), dir('e')],
    [dir('d'), ...files('d', 22, 8), dir('e'), ...files('e', 10, 12)],
  ],
  spec: { metacopy: true, redirectDir: 'on' },
};

let e: Engine;
beforeEach(async () => {
  e = await Engine.open(PARTS);
});
afterEach(() => {
  e.close();
});

/** The regular files of a directory as it is listed; looked up, as READDIRPLUS does. */
function listed(name: string): string[] {
  const body = wire`
    ${u64(0)} ${u64(0)}   fh, offset
    ${u32(0x8000)}        size
    ${u32(0)} ${u64(0)}   read_flags, lock_owner
    ${u64(0)}             flags, padding`;
  const reply = e.must(Op.READDIRPLUS, e.node(name), body);
  const names: string[] = [];
  for (let at = 0; at < reply.body.length; ) {
    const length = reply.u32(at + 128 + 16);
    const type = reply.u32(at + 128 + 20);
    if (type === 8) names.push(reply.body.toString('latin1', at + 152, at + 152 + length));
    at += Math.ceil((152 + length) / 8) * 8;
  }
  return names;
}

const inode = (name: string, path: string): number => {
  const layer = readdirSync(join(e.top, 'lower0', path)).includes(name) ? 'lower0' : 'lower1';
  return lstatSync(join(e.top, layer, path, name)).ino;
};

/** Names of the regular files `prefix…` that this process has open. */
function open(prefix: string): string[] {
  const found: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const name = basename(readlinkSync(`/proc/self/fd/${fd}`));
      if (/^[de]\d+$/.test(name) && name.startsWith(prefix)) found.push(name);
    } catch {
      // The descriptor that listed this directory.
    }
  }
  return found.sort();
}

function read(path: string, names: readonly string[]): void {
  for (const name of names) expect(e.text(`${path}/${name}`)).toBe(name);
}

const sorted = (names: readonly string[]): string[] => [...names].sort();

describe.skipIf(!has({ root: true }))('reading ahead', () => {
  it('opens the next three files of the listing after three were read in its order', () => {
    const names = listed('d');
    expect(names).toHaveLength(20);
    read('d', names.slice(0, 2));
    expect(open('d')).toEqual(sorted(names.slice(0, 2)));
    read('d', names.slice(2, 3));
    expect(open('d')).toEqual(sorted(names.slice(0, 3 + AHEAD)));
    read('d', names.slice(3, 10));
    expect(open('d')).toEqual(sorted(names.slice(0, 10 + AHEAD)));
  });

  it.each([
    ['names', (a: string, b: string) => (a < b ? -1 : 1)],
    ['inode numbers', (a: string, b: string) => inode(a, 'd') - inode(b, 'd')],
  ])('finds out that files are read in the order of their %s', (_, order) => {
    const names = listed('d').sort(order);
    read('d', names.slice(0, 16));
    expect(open('d')).toEqual(sorted(names.slice(0, 16 + AHEAD)));
  });

  it('goes on in the next directory, from its first file on', () => {
    read('d', listed('d'));
    const names = listed('e');
    read('e', names.slice(0, 1));
    expect(open('e')).toEqual(sorted(names.slice(0, 1 + AHEAD)));
  });

  it('opens nothing for files that are read in no order', () => {
    const names = listed('d');
    const shuffled = [19, 0, 18, 1, 17, 2, 16, 3, 15, 4, 14, 5].map((i) => names[i] ?? '');
    for (const [i, name] of shuffled.entries()) {
      read('d', [name]);
      expect(open('d')).toEqual(sorted(shuffled.slice(0, i + 1)));
    }
  });

  it('opens nothing in a directory that was not listed', () => {
    read('d', ['d10', 'd11', 'd12', 'd13', 'd14', 'd15', 'd16', 'd17']);
    expect(open('d')).toHaveLength(8);
  });

  it('makes what it opened the backing of the node that is read', () => {
    const backed: number[] = [];
    e.ov.setBacking = (node, fd) => {
      if (fd >= 0) backed.push(node);
    };
    const names = listed('d');
    read('d', names);
    expect(backed).toEqual(names.map((name) => e.node(`d/${name}`)));
  });

  it('reads what was written to a file that it had opened below', () => {
    const names = listed('d');
    read('d', names.slice(0, 4));
    const next = names[4] ?? '';
    expect(open('d')).toContain(next);
    const body = wire`
      ${u64(0)} ${u64(0)}   fh, offset
      ${u32(1)}             size
      ${u32(0)} ${u64(0)}   write_flags, lock_owner
      ${u64(0)}             flags, padding
      58                    X`;
    e.must(Op.WRITE, e.node(`d/${next}`), body);
    expect(e.text(`d/${next}`)).toBe(`X${next.slice(1)}`);
  });

  it('opens no device that has got the name of a listed file', () => {
    const names = listed('d');
    read('d', names.slice(0, 2));
    const next = names[4] ?? '';
    e.must(Op.UNLINK, e.node('d'), wire`${cstr(next)}`);
    const body = wire`
      ${u32(0o20600)}            mode: a character device
      ${u32(0x103)}              rdev 1:3
      ${u32(0)} ${u32(0)}        umask, padding
      ${cstr(next)}              name`;
    e.must(Op.MKNOD, e.node('d'), body, 0);
    read('d', names.slice(2, 4));
    expect(open('d')).toEqual(sorted(names.slice(0, 7).filter((name) => name !== next)));
  });

  it('closes what it opened when the file is removed', () => {
    const names = listed('d');
    read('d', names.slice(0, 4));
    const next = names[4] ?? '';
    const node = e.node(`d/${next}`);
    e.must(Op.UNLINK, e.node('d'), wire`${cstr(next)}`);
    e.forget(node, 1000);
    expect(open('d')).not.toContain(next);
    read('d', names.slice(5));
  });
});
