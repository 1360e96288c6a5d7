/** Files with several names, of which the engine does not know all. */
import { existsSync, linkSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type EngineParts, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file, hardlink } from '../support/tree.js';

const PARTS: EngineParts = {
  lowers: [[file('lf', 'lower'), hardlink('ll', 'lf'), file('u', 'hidden'), file('v', 'hidden')]],
  upper: [file('u', 'upper'), hardlink('v', 'u'), dir('d'), hardlink('d/w', 'u'), file('x', 'x')],
};

let e: Engine;
beforeEach(async () => {
  e = await Engine.open(PARTS);
});
afterEach(() => {
  e.close();
});

const upper = (name: string): string => join(e.top, 'upper', name);
const unlink = (name: string): void => {
  e.must(Op.UNLINK, 1, wire`${cstr(name)}`);
};
const nlink = (node: number): number => e.must(Op.GETATTR, node, Buffer.alloc(16)).u32(16 + 64);
const orphans = (): string[] =>
  readdirSync(join(e.top, 'work/work')).filter((name) => name.startsWith('#o'));

describe.skipIf(!has({ root: true }))('an upper file with three names', () => {
  it('is one node by each of them', () => {
    const node = e.node('u');
    expect([e.node('v'), e.node('d/w')]).toEqual([node, node]);
    expect(nlink(node)).toBe(3);
  });

  it('is itself by the others when the only known name is removed', () => {
    const node = e.node('u');
    unlink('u');
    expect(nlink(node)).toBe(2);
    expect(e.text('v')).toBe('upper');
    expect(e.text('d/w')).toBe('upper');
  });

  it('is gone after each name was removed, whichever were known when', () => {
    const node = e.node('u');
    unlink('u');
    expect(e.node('v')).toBe(node);
    unlink('v');
    const d = e.node('d');
    expect(e.node('d/w')).toBe(node);
    e.must(Op.UNLINK, d, wire`${cstr('w')}`);
    for (const name of ['u', 'v']) {
      expect(lstatSync(upper(name)).isCharacterDevice(), name).toBe(true);
      expect(e.node(name)).toBe(0);
    }
    expect(existsSync(upper('d/w'))).toBe(false);
    expect(nlink(node)).toBe(0);
    e.forget(node, 100);
    expect(orphans()).toEqual([]);
  });

  it('is gone on disk too when nothing was looked up before', () => {
    unlink('u');
    unlink('v');
    e.must(Op.UNLINK, e.node('d'), wire`${cstr('w')}`);
    e = e.reopen(PARTS);
    expect([e.node('u'), e.node('v'), e.node('d/w')]).toEqual([0, 0, 0]);
  });

  it('is replaced under one name and stays under the others', () => {
    const node = e.node('u');
    e.must(Op.RENAME, 1, wire`${u64(1)} ${cstr('x')} ${cstr('u')}`);
    expect(e.text('u')).toBe('x');
    expect(e.text('v')).toBe('upper');
    expect(nlink(node)).toBe(2);
    e.must(Op.RENAME, 1, wire`${u64(1)} ${cstr('u')} ${cstr('v')}`);
    expect(e.text('v')).toBe('x');
    expect(e.text('d/w')).toBe('upper');
    expect(nlink(node)).toBe(1);
    e.forget(node, 100);
    expect(e.text('d/w')).toBe('upper');
    e.forget(e.node('d/w'), 100);
    expect(orphans()).toEqual([]);
  });

  it('is renamed under a name learnt after its first one went', () => {
    const node = e.node('u');
    unlink('u');
    expect(e.node('v')).toBe(node);
    e.must(Op.RENAME, 1, wire`${u64(1)} ${cstr('v')} ${cstr('new')}`);
    expect(e.node('new')).toBe(node);
    expect(e.node('v')).toBe(0);
    expect(e.text('new')).toBe('upper');
    e.forget(node, 100);
    expect(e.text('new')).toBe('upper');
  });

  it('gets a new name after the known one went', () => {
    const node = e.node('u');
    unlink('u');
    e.must(Op.LINK, 1, wire`${u64(node)} ${cstr('again')}`);
    expect(nlink(node)).toBe(3);
    expect(e.text('again')).toBe('upper');
    unlink('again');
    expect(nlink(node)).toBe(2);
    expect(e.text('v')).toBe('upper');
  });

  it('of two names in one directory, exchanged, stays', () => {
    const node = e.node('u');
    e.node('v');
    e.must(Op.RENAME2, 1, wire`${u64(1)} ${u32(2)} ${u32(0)} ${cstr('u')} ${cstr('v')}`);
    expect([e.node('u'), e.node('v')]).toEqual([node, node]);
    expect(nlink(node)).toBe(3);
  });
});

describe.skipIf(!has({ root: true }))('a lower file with two names', () => {
  it('parts at copy-up: each name is a file of its own', () => {
    const [lf, ll] = [e.node('lf'), e.node('ll')];
    expect(lf).not.toBe(ll);
    const body = wire`
      ${u64(0)} ${u64(0)}            fh, offset
      ${u32(1)} ${u32(0)}            size, write_flags
      ${u64(0)} ${u32(0)} ${u32(0)}  lock_owner, flags, padding
      4c                             data "L"`;
    e.must(Op.WRITE, lf, body);
    expect([e.text('lf'), e.text('ll')]).toEqual(['Lower', 'lower']);
  });

  it('loses one name and keeps the other', () => {
    e.node('lf');
    unlink('lf');
    expect(e.text('ll')).toBe('lower');
    expect(e.node('lf')).toBe(0);
  });

  it('is one node on a read-only mount', async () => {
    e.close();
    e = await Engine.open({ ...PARTS, upper: false });
    expect(e.node('lf')).toBe(e.node('ll'));
  });
});

describe.skipIf(!has({ root: true }))('an upper file that got a name behind the engine', () => {
  it('does not lose it: what is not known is not touched', () => {
    const node = e.node('x');
    linkSync(upper('x'), upper('behind'));
    unlink('x');
    e.forget(node, 100);
    expect(lstatSync(upper('behind')).nlink).toBe(1);
  });
});
