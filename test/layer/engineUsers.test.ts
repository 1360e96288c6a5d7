/** Users in requests: ids without a meaning, and the group sent along with a creation. */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type Reply, request, u32, UID, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file } from '../support/tree.js';

const NOBODY = 0xffff_ffff;
const MODE_AT = 100;
const UID_AT = 108;
const VALID = { UID: 2, GID: 4 };

let e: Engine;
beforeEach(async () => {
  e = await Engine.open({
    lowers: [[file('f', 'f', { uid: 5, gid: 6 })]],
    upper: [dir('shared', { mode: 0o2777, uid: 1, gid: 77 })],
  });
});
afterEach(() => {
  e.close();
});

const mknod = (name: string, mode: number): Buffer => wire`
  ${u32(0o100000 | mode)}  mode
  ${u32(0)}                rdev
  ${u32(0)}                umask
  ${u32(0)}                padding
  ${cstr(name)}            name`;

/** A MKNOD of user UID with FUSE_EXT_GROUPS behind it, which a name of any length can precede. */
function withGroup(name: string, mode: number, group: number): Reply {
  const extension = wire`
    ${u32(24)} ${u32(32)}           size, type
    ${u32(1)} ${u32(group)}         nr_groups, group
    ${u32(0)} ${u32(0)}             padding`;
  const bytes = request(
    Op.MKNOD,
    e.node('shared'),
    Buffer.concat([mknod(name, mode), extension]),
    UID,
  );
  bytes.writeUInt16LE(extension.length / 8, 36);
  const reply = e.send(bytes);
  if (!reply) throw new Error('no reply');
  return reply;
}

describe.skipIf(!has({ root: true }))('the group sent along', () => {
  it.each(['a', 'ab', 'abc', 'abcd'])('%s keeps the set-group-id bit of a member', (name) => {
    expect(withGroup(name, 0o2775, 77).u32(MODE_AT)).toBe(0o102775);
    expect(lstatSync(join(e.top, 'upper/shared', name)).gid).toBe(77);
  });

  it('is not that of somebody who is in another group', () => {
    expect(withGroup('a', 0o2775, 78).u32(MODE_AT)).toBe(0o100775);
    expect(e.must(Op.MKNOD, e.node('shared'), mknod('b', 0o2775)).u32(MODE_AT)).toBe(0o100775);
    // Without the group's execute bit it makes nobody run as the group.
    expect(e.must(Op.MKNOD, e.node('shared'), mknod('c', 0o2664)).u32(MODE_AT)).toBe(0o102664);
  });
});

describe.skipIf(!has({ root: true }))('an id without a meaning', () => {
  it('makes nothing', () => {
    expect(e.ask(Op.MKNOD, 1, mknod('new', 0o644), NOBODY).error).toBe(-E.EOVERFLOW);
    const body = wire`${u32(0o755)} ${u32(0)} ${cstr('new')}`;
    expect(e.ask(Op.MKDIR, 1, body, NOBODY).error).toBe(-E.EOVERFLOW);
    const link = wire`${cstr('new')} ${cstr('target')}`;
    expect(e.ask(Op.SYMLINK, 1, link, NOBODY).error).toBe(-E.EOVERFLOW);
    expect(readdirSync(join(e.top, 'upper'))).toEqual(['shared']);
  });

  it.each([VALID.UID, VALID.GID])('is no owner to give to (valid %d)', (valid) => {
    const body = Buffer.alloc(88);
    body.writeUInt32LE(valid, 0);
    body.writeUInt32LE(NOBODY, 76);
    body.writeUInt32LE(NOBODY, 80);
    expect(e.ask(Op.SETATTR, e.node('f'), body).error).toBe(-E.EOVERFLOW);
    expect(e.lookup(1, 'f').u32(UID_AT)).toBe(5);
    expect(readdirSync(join(e.top, 'upper'))).toEqual(['shared']);
  });
});
