/** Requests about names, byte for byte: LOOKUP, READLINK, the makers and the removers. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, GID, type Reply, u32, u64, UID, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file, hardlink, opaque, symlink, whiteout } from '../support/tree.js';
import { entryOut } from '../support/wireStat.js';

/** Not UTF-8, with a newline. */
const ODD = '\xff\xfe\n\x80';
const LONGEST = '\xe4'.repeat(255);

let e: Engine;
const upper = (name: string): string => join(e.top, 'upper', name);
const lower = (name: string): string => join(e.top, 'lower0', name);
const isWhiteout = (name: string): boolean =>
  lstatSync(upper(name)).isCharacterDevice() && lstatSync(upper(name)).rdev === 0;
/** Mode, uid and gid of an entry. */
const owner = (reply: Reply): number[] => [reply.u32(100), reply.u32(108), reply.u32(112)];

beforeEach(async () => {
  e = await Engine.open({
    lowers: [
      [
        file('f', 'hello', { mode: 0o640, uid: 11, gid: 12 }),
        file(ODD, 'odd'),
        dir('d', { mode: 0o750 }),
        file('d/inner', 'inner'),
        dir('empty'),
        symlink('sym', '../to/\xff'),
        file('two', 'linked'),
        hardlink('names', 'two'),
      ],
    ],
    upper: [file('u', 'upper'), whiteout('gone'), dir('sgid', { mode: 0o2775, gid: 77 })],
    spec: { metacopy: false },
  });
});
afterEach(() => {
  e.close();
});

describe.skipIf(!has({ root: true }))('LOOKUP', () => {
  it.each(['f', 'd', 'sym', ODD])('of lower %j carries its attributes', (name) => {
    const reply = e.lookup(1, name);
    const node = reply.u32(0);
    expect(node).toBeGreaterThan(1);
    expect(reply.body).toEqual(entryOut(lower(name), node, reply.u64(8)));
  });

  it('of an upper file carries its attributes', () => {
    const reply = e.lookup(1, 'u');
    expect(reply.body).toEqual(entryOut(upper('u'), reply.u32(0), reply.u64(8)));
  });

  it.each(['none', 'gone', '.wh.f', LONGEST])(
    'of %j, which is not there, is an entry without a node, to be remembered for ever',
    (name) => {
      const reply = e.lookup(1, name);
      expect(reply.body).toHaveLength(128);
      expect(reply.u64(0)).toBe(0n);
      expect(reply.u64(16)).toBe(0x7fffffffn);
    },
  );

  it('refuses a name above 255 bytes', () => {
    expect(e.lookup(1, 'x'.repeat(256)).error).toBe(-E.ENAMETOOLONG);
  });

  it('of "." and ".." never leaves the layer', () => {
    // The kernel sends neither without EXPORT_SUPPORT, which is not negotiated.
    for (const name of ['.', '..']) {
      const reply = e.lookup(1, name);
      if (reply.error === 0 && reply.u64(0) !== 0n) {
        expect(reply.u64(40)).toBe(BigInt(lstatSync(join(e.top, 'upper')).ino));
      }
    }
  });

  it('gives the same node to the same name, and to a deeper one its own', () => {
    expect(e.node('d')).toBe(e.node('d'));
    expect(e.node('d/inner')).not.toBe(e.node('f'));
  });
});

describe.skipIf(!has({ root: true }))('READLINK', () => {
  it('gives the target without a NUL', () => {
    expect(e.must(Op.READLINK, e.node('sym')).text()).toBe('../to/\xff');
  });

  it('of another type is EINVAL', () => {
    expect(e.ask(Op.READLINK, e.node('f')).error).toBe(-E.EINVAL);
  });
});

describe.skipIf(!has({ root: true }))('SYMLINK', () => {
  it('takes name, then target', () => {
    const body = wire`
      ${cstr(ODD + 's')}      name
      ${cstr('\xfe/target')}  target`;
    const reply = e.must(Op.SYMLINK, 1, body);
    expect(owner(reply)).toEqual([0o120777, UID, GID]);
    expect(e.must(Op.READLINK, reply.u32(0)).text()).toBe('\xfe/target');
  });

  it('over a whiteout leaves the symlink alone', () => {
    e.must(Op.SYMLINK, 1, wire`${cstr('gone')} ${cstr('target')}`);
    expect(readlinkSync(upper('gone'))).toBe('target');
  });
});

describe.skipIf(!has({ root: true }))('MKNOD', () => {
  const mknod = (mode: number, rdev: number, umask: number, name: string): Reply =>
    e.ask(
      Op.MKNOD,
      1,
      wire`
        ${u32(mode)}    mode
        ${u32(rdev)}    rdev
        ${u32(umask)}   umask
        00 00 00 00     padding
        ${cstr(name)}   name`,
    );

  it.each([
    ['a file', 0o100666, 0, 0o100644],
    ['a FIFO', 0o010666, 0, 0o010644],
    ['a socket', 0o140666, 0, 0o140644],
    ['a setuid file', 0o106755, 0, 0o106755],
    ['a character device', 0o020666, 0x0103, 0o020644],
    ['a block device with a large minor', 0o060666, 0x12303445, 0o060644],
  ])('makes %s, with the umask taken off and the caller as owner', (_, mode, rdev, expected) => {
    const reply = mknod(mode, rdev, 0o022, 'new');
    expect(owner(reply)).toEqual([expected, UID, GID]);
    expect(reply.u32(116)).toBe(rdev);
    expect(reply.body).toEqual(entryOut(upper('new'), reply.u32(0), reply.u64(8)));
  });

  it('makes a 0:0 character device, which on disk is no whiteout', () => {
    const reply = mknod(0o020666, 0, 0o022, 'new');
    expect([...owner(reply), reply.u32(116)]).toEqual([0o020644, UID, GID, 0]);
    expect(lstatSync(join(e.top, 'upper/new')).rdev).toBe(1);
  });

  it('refuses a name that is taken, in the upper or in a lower', () => {
    for (const name of ['u', 'd', 'f']) e.node(name);
    expect(mknod(0o100644, 0, 0, 'u').error).toBe(-E.EEXIST);
  });

  it('replaces a whiteout in one step', () => {
    const reply = mknod(0o104711, 0, 0, 'gone');
    expect(owner(reply)).toEqual([0o104711, UID, GID]);
    expect(lstatSync(upper('gone')).isFile()).toBe(true);
  });

  it('keeps names of any bytes and of 255 of them', () => {
    for (const name of [`${ODD}2`, LONGEST]) {
      const node = mknod(0o100644, 0, 0, name).u32(0);
      expect(e.node(name)).toBe(node);
    }
  });

  it('inherits the group of a set-group-id directory', () => {
    const body = wire`${u32(0o100644)} ${u32(0)} ${u32(0)} ${u32(0)} ${cstr('in')}`;
    expect(owner(e.must(Op.MKNOD, e.node('sgid'), body))).toEqual([0o100644, UID, 77]);
  });
});

describe.skipIf(!has({ root: true }))('MKDIR', () => {
  it('takes mode, umask and name', () => {
    const body = wire`
      ff 01 00 00    mode 0777
      12 00 00 00    umask 022
      ${cstr('new')}  name`;
    const reply = e.must(Op.MKDIR, 1, body);
    expect(owner(reply)).toEqual([0o040755, UID, GID]);
    expect(reply.u32(40 + 64)).toBe(2); // nlink
  });

  it('over a whiteout makes a directory that hides the lower one', async () => {
    e.close();
    e = await Engine.open({ lowers: [[dir('d'), file('d/old', 'x')]], upper: [whiteout('d')] });
    const node = e.must(Op.MKDIR, 1, wire`${u32(0o700)} ${u32(0)} ${cstr('d')}`).u32(0);
    expect(e.lookup(node, 'old').u64(0)).toBe(0n);
    expect(readdirSync(upper('d'))).toEqual([]);
  });

  it('in a set-group-id directory inherits group and bit', () => {
    const body = wire`${u32(0o755)} ${u32(0)} ${cstr('in')}`;
    expect(owner(e.must(Op.MKDIR, e.node('sgid'), body))).toEqual([0o042755, UID, 77]);
  });
});

describe.skipIf(!has({ root: true }))('UNLINK and RMDIR', () => {
  it('UNLINK of a lower file leaves a whiteout and copies nothing', () => {
    e.must(Op.UNLINK, 1, wire`${cstr('f')}`);
    expect(isWhiteout('f')).toBe(true);
    expect(e.ov.copyUps).toBe(0);
    expect(e.lookup(1, 'f').u64(0)).toBe(0n);
    expect(readFileSync(lower('f'), 'latin1')).toBe('hello');
  });

  it('UNLINK of an upper file leaves nothing, and its node still reads', () => {
    const node = e.node('u');
    e.must(Op.UNLINK, 1, wire`${cstr('u')}`);
    expect(readdirSync(join(e.top, 'upper'))).not.toContain('u');
    const read = wire`${u64(0)} ${u64(0)} ${u32(100)} ${u32(0)} ${u64(0)} ${u32(0)} ${u32(0)}`;
    expect(e.must(Op.READ, node, read).text()).toBe('upper');
    expect(e.must(Op.GETATTR, node, Buffer.alloc(16)).u32(16 + 64)).toBe(0); // nlink
    e.forget(node);
    expect(readdirSync(join(e.top, 'work/work')).filter((n) => n.startsWith('#o'))).toEqual([]);
  });

  it('UNLINK of a lower file that is in use: the node still reads', () => {
    const node = e.node('f');
    e.must(Op.UNLINK, 1, wire`${cstr('f')}`);
    const read = wire`${u64(0)} ${u64(1)} ${u32(3)} ${u32(0)} ${u64(0)} ${u32(0)} ${u32(0)}`;
    expect(e.must(Op.READ, node, read).text()).toBe('ell');
  });

  it('RMDIR of an empty lower directory leaves a whiteout', () => {
    e.must(Op.RMDIR, 1, wire`${cstr('empty')}`);
    expect(isWhiteout('empty')).toBe(true);
    expect(e.ov.copyUps).toBe(0);
  });

  it.each([
    ['UNLINK', 'none', E.ENOENT],
    ['UNLINK', 'gone', E.ENOENT],
    ['UNLINK', 'd', E.EISDIR],
    ['RMDIR', 'none', E.ENOENT],
    ['RMDIR', 'f', E.ENOTDIR],
    ['RMDIR', 'd', E.ENOTEMPTY],
  ] as const)('%s of %s is refused', (op, name, error) => {
    expect(e.ask(Op[op], 1, wire`${cstr(name)}`).error).toBe(-error);
  });

  it('RMDIR of a directory that holds nothing but whiteouts works', () => {
    e.must(Op.UNLINK, e.node('d'), wire`${cstr('inner')}`);
    e.must(Op.RMDIR, 1, wire`${cstr('d')}`);
    expect(isWhiteout('d')).toBe(true);
    expect(e.lookup(1, 'd').u64(0)).toBe(0n);
  });
});

describe.skipIf(!has({ root: true }))('LINK', () => {
  const link = (node: number, name: string): Reply =>
    e.ask(
      Op.LINK,
      1,
      wire`
        ${u64(node)}    oldnodeid
        ${cstr(name)}   name`,
    );

  it('of an upper file answers with the same node and one link more', () => {
    const node = e.node('u');
    const reply = link(node, 'again');
    expect([reply.u32(0), reply.u32(40 + 64)]).toEqual([node, 2]);
    expect(e.node('again')).toBe(node);
    expect(lstatSync(upper('again')).ino).toBe(lstatSync(upper('u')).ino);
  });

  it('of a lower file copies it up', () => {
    const node = e.node('f');
    const reply = link(node, 'again');
    expect(reply.body).toEqual(
      entryOut(upper('again'), node, reply.u64(8), { ino: BigInt(lstatSync(lower('f')).ino) }),
    );
    expect(readFileSync(upper('f'), 'latin1')).toBe('hello');
  });

  it('over a whiteout works, over a name does not', () => {
    expect(link(e.node('u'), 'gone').error).toBe(0);
    e.node('f');
    expect(link(e.node('u'), 'sgid').error).toBe(-E.EEXIST);
  });

  it('of a file whose last name is gone brings it back from its orphan name', () => {
    const node = e.node('u');
    link(node, 'second');
    e.must(Op.UNLINK, 1, wire`${cstr('u')}`);
    e.must(Op.UNLINK, 1, wire`${cstr('second')}`);
    expect(link(node, 'back').u32(0)).toBe(node);
    expect(readFileSync(upper('back'), 'latin1')).toBe('upper');
  });
});

describe.skipIf(!has({ root: true }))('TMPFILE', () => {
  const body = wire`
    02 80 41 00    flags O_RDWR|O_TMPFILE
    a4 81 00 00    mode 0100644
    12 00 00 00    umask 022
    00 00 00 00    open_flags
    ${cstr('/')}   name, which means nothing`;

  it('answers with an entry and an open file; no name shows', () => {
    const before = readdirSync(join(e.top, 'upper'));
    const reply = e.must(Op.TMPFILE, 1, body);
    expect(reply.body).toHaveLength(128 + 16);
    expect(owner(reply)).toEqual([0o100644, UID, GID]);
    expect(reply.u32(40 + 64)).toBe(0); // nlink
    expect(reply.u64(128)).toBe(0n); // fh
    expect(readdirSync(join(e.top, 'upper'))).toEqual(before);
    const node = reply.u32(0);
    const data = wire`
      ${u64(0)} ${u64(0)}            fh, offset
      ${u32(3)} ${u32(0)}            size, write_flags
      ${u64(0)} ${u32(0)} ${u32(0)}  lock_owner, flags, padding
      61 62 63                       data`;
    expect(e.must(Op.WRITE, node, data).u32(0)).toBe(3);
    e.must(Op.LINK, 1, wire`${u64(node)} ${cstr('named')}`);
    expect(readFileSync(upper('named'), 'latin1')).toBe('abc');
    expect(e.node('named')).toBe(node);
  });

  it('goes with its last lookup', () => {
    const node = e.must(Op.TMPFILE, 1, body).u32(0);
    expect(readdirSync(join(e.top, 'work/work'))).not.toEqual([]);
    e.forget(node);
    expect(readdirSync(join(e.top, 'work/work'))).toEqual([]);
  });
});

describe.skipIf(!has({ root: true }))('opaque directories', () => {
  it('hide what lies below, and are marked as kernel overlayfs marks them', async () => {
    e.close();
    e = await Engine.open({
      lowers: [
        [opaque('d'), file('d/new', '')],
        [dir('d'), file('d/old', '')],
      ],
    });
    expect(e.node('d/new')).toBeGreaterThan(1);
    expect(e.node('d/old')).toBe(0);
  });
});
