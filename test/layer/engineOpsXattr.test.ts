/** Requests about extended attributes, byte for byte. */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, raw, type Reply, u32, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { file } from '../support/tree.js';

let e: Engine;
beforeEach(async () => {
  e = await Engine.open({
    lowers: [[file('f', 'hello, lower'), file('plain')]],
    upper: [file('u', 'upper', { mode: 0o6755 })],
  });
});
afterEach(() => {
  e.close();
});

const key = 'user.\xff';
const set = (node: number, header: Buffer, name: string, value: string): Reply =>
  e.ask(Op.SETXATTR, node, Buffer.concat([header, wire`${cstr(name)}`, Buffer.from(value)]));
const get = (node: number, name: string, size: number): Reply =>
  e.ask(Op.GETXATTR, node, wire`${u32(size)} ${u32(0)} ${cstr(name)}  size, padding, name`);
const list = (node: number, size: number, uid = 0): Reply =>
  e.ask(Op.LISTXATTR, node, wire`${u32(size)} ${u32(0)}  size, padding`, uid);
const extended = (size: number, flags = 0, more = 0): Buffer => wire`
  ${u32(size)}    size
  ${u32(flags)}   flags
  ${u32(more)}    setxattr_flags
  00 00 00 00     padding`;

describe.skipIf(!has({ root: true }))('extended attributes', () => {
  it('SETXATTR in the extended form sets on the copy of a lower file', () => {
    const node = e.node('f');
    expect(set(node, extended(5), key, 'value').body).toHaveLength(0);
    expect(get(node, key, 100).text()).toBe('value');
    expect(e.ov.copyUps).toBe(1);
  });

  it('SETXATTR in the short form, when a kernel did not agree on the other', () => {
    e.session.setxattrExt = false;
    const short = wire`
      05 00 00 00   size
      00 00 00 00   flags`;
    const node = e.node('u');
    expect(set(node, short, key, 'value').error).toBe(0);
    expect(get(node, key, 100).text()).toBe('value');
  });

  it('SETXATTR with XATTR_CREATE and XATTR_REPLACE', () => {
    const node = e.node('u');
    expect(set(node, extended(1, 2), key, 'a').error).toBe(-E.ENODATA);
    expect(set(node, extended(1, 1), key, 'a').error).toBe(0);
    expect(set(node, extended(1, 1), key, 'b').error).toBe(-E.EEXIST);
    expect(set(node, extended(1, 2), key, 'c').error).toBe(0);
    expect(get(node, key, 1).text()).toBe('c');
  });

  it('SETXATTR of an ACL with ACL_KILL_SGID takes the set-group-id bit away', () => {
    const acl = wire`
      02 00 00 00               version
      01 00 07 00 ff ff ff ff   user::rwx
      04 00 05 00 ff ff ff ff   group::r-x
      20 00 04 00 ff ff ff ff   other::r--`;
    const node = e.node('u');
    const body = Buffer.concat([extended(28, 0, 1), wire`${cstr('system.posix_acl_access')}`, acl]);
    expect(e.ask(Op.SETXATTR, node, body).error).toBe(0);
    expect(lstatSync(join(e.top, 'upper/u')).mode & 0o7777).toBe(0o4754);
    expect(e.must(Op.GETATTR, node, Buffer.alloc(16)).u32(16 + 60)).toBe(0o104754);
  });

  it('GETXATTR tells the length when asked with size 0, ERANGE when it does not fit', () => {
    const node = e.node('u');
    set(node, extended(5), key, 'value');
    expect(get(node, key, 0).body).toEqual(wire`
      05 00 00 00   size
      00 00 00 00   padding`);
    expect(get(node, key, 4).error).toBe(-E.ERANGE);
    expect(get(node, 'user.none', 100).error).toBe(-E.ENODATA);
    expect(get(node, 'nonsense', 100).error).toBe(-E.EOPNOTSUPP);
  });

  it('LISTXATTR lists names with a NUL each; ours are not among them', () => {
    const node = e.node('f');
    set(node, extended(1), key, 'v');
    set(node, extended(1), 'trusted.t', 'v');
    const names = list(node, 4096).text();
    expect(names.split('\0').filter(Boolean).sort()).toEqual(['trusted.t', key]);
    expect(names.endsWith('\0')).toBe(true);
    expect(list(node, 0).u32(0)).toBe(names.length);
    expect(list(node, 3).error).toBe(-E.ERANGE);
    expect(list(node, 4096, 1000).text()).toBe(`${key}\0`);
    expect(list(e.node('plain'), 4096).body).toHaveLength(0);
  });

  it("a client's overlay.* is stored one level deeper, and is its own", () => {
    const node = e.node('u');
    expect(set(node, extended(1), 'trusted.overlay.opaque', 'y').error).toBe(0);
    expect(get(node, 'trusted.overlay.opaque', 10).text()).toBe('y');
    expect(list(node, 4096).text()).toBe('trusted.overlay.opaque\0');
    expect(e.must(Op.REMOVEXATTR, node, wire`${cstr('trusted.overlay.opaque')}`).error).toBe(0);
    expect(list(node, 4096).body).toHaveLength(0);
  });

  it('our own cannot be read, nor taken away', () => {
    const node = e.node('f');
    set(node, extended(1), key, 'v');
    expect(get(node, 'trusted.overlay.origin', 100).error).toBe(-E.ENODATA);
    const removed = e.ask(Op.REMOVEXATTR, node, wire`${cstr('trusted.overlay.origin')}`);
    expect(removed.error).toBe(-E.ENODATA);
  });

  it('REMOVEXATTR of one that is not there copies nothing up', () => {
    const node = e.node('f');
    expect(e.ask(Op.REMOVEXATTR, node, wire`${raw('user.no')} 00`).error).toBe(-E.ENODATA);
    expect(e.ov.copyUps).toBe(0);
  });
});
