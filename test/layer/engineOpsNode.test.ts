/** Requests about a node's attributes and the file system, byte for byte. */
import { execFileSync } from 'node:child_process';
import { chmodSync, lstatSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type EngineParts, type Reply, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file, symlink } from '../support/tree.js';
import { attrOut } from '../support/wireStat.js';

const PARTS: EngineParts = {
  lowers: [
    [
      file('f', 'hello, lower', { mode: 0o640, uid: 11, gid: 12, mtime: [-5, 250] }),
      file('suid', 'x', { mode: 0o6755, uid: 5, gid: 6 }),
      file('big', { size: 100_000, seed: 3 }),
      dir('d', { mode: 0o1777 }),
      symlink('sym', 'target'),
    ],
    [dir('d')],
  ],
  upper: [file('u', 'upper', { mode: 0o4711 })],
  spec: { metacopy: false },
};

let e: Engine;
beforeEach(async () => {
  e = await Engine.open(PARTS);
});
afterEach(() => {
  e.close();
});
const upper = (name: string): string => join(e.top, 'upper', name);
const lower = (name: string): string => join(e.top, 'lower0', name);

interface Change {
  valid: number;
  size?: number | bigint;
  atime?: readonly [number, number];
  mtime?: readonly [number, number];
  mode?: number;
  uid?: number;
  gid?: number;
}

const setattr = (node: number, change: Change): Reply =>
  e.ask(
    Op.SETATTR,
    node,
    wire`
      ${u32(change.valid)}           valid
      00 00 00 00                    padding
      ${u64(0)}                      fh
      ${u64(change.size ?? 0)}       size
      ${u64(0)}                      lock_owner
      ${u64(change.atime?.[0] ?? 0)}  atime
      ${u64(change.mtime?.[0] ?? 0)}  mtime
      ${u64(0)}                      ctime
      ${u32(change.atime?.[1] ?? 0)}  atimensec
      ${u32(change.mtime?.[1] ?? 0)}  mtimensec
      00 00 00 00                    ctimensec
      ${u32(change.mode ?? 0)}       mode
      00 00 00 00                    unused
      ${u32(change.uid ?? 0)}        uid
      ${u32(change.gid ?? 0)}        gid
      00 00 00 00                    unused`,
  );
const [MODE, UID, GID, SIZE, ATIME, MTIME] = [1, 2, 4, 8, 16, 32];
const [ATIME_NOW, MTIME_NOW, CTIME, KILL_SUIDGID] = [128, 256, 1024, 2048];

describe.skipIf(!has({ root: true }))('GETATTR', () => {
  const body = wire`
    00 00 00 00               getattr_flags
    00 00 00 00               dummy
    00 00 00 00 00 00 00 00   fh`;

  it.each(['f', 'suid', 'sym', 'big'])('of lower %s is what the layer has', (name) => {
    expect(e.must(Op.GETATTR, e.node(name), body).body).toEqual(attrOut(lower(name)));
  });

  it('of an upper file is what the upper has', () => {
    expect(e.must(Op.GETATTR, e.node('u'), body).body).toEqual(attrOut(upper('u')));
  });

  it('of a merged directory shows one link, as kernel overlayfs does', () => {
    const reply = e.must(Op.GETATTR, e.node('d'), body);
    expect(reply.body).toEqual(attrOut(lower('d'), { nlink: 1 }));
  });

  it('of the root shows the upper with its own number', () => {
    expect(e.must(Op.GETATTR, 1, body).body).toEqual(attrOut(upper(''), { nlink: 1 }));
  });
});

describe.skipIf(!has({ root: true }))('STATX', () => {
  it('answers basic attributes and the time of birth', () => {
    const body = wire`
      00 00 00 00               getattr_flags
      00 00 00 00               reserved
      00 00 00 00 00 00 00 00   fh
      00 00 00 00               sx_flags
      ff 0f 00 00               sx_mask BASIC_STATS|BTIME`;
    const reply = e.must(Op.STATX, e.node('f'), body);
    const s = lstatSync(lower('f'), { bigint: true });
    expect(reply.body).toHaveLength(288);
    expect(reply.u64(0)).toBe(0x7fffffffn); // attr_valid
    const at = 32; // struct fuse_statx
    expect(reply.u32(at) & 0xfff).toBe(0xfff); // mask
    expect(reply.u32(at + 16)).toBe(1); // nlink
    expect([reply.u32(at + 20), reply.u32(at + 24), reply.u16(at + 28)]).toEqual([
      11, 12, 0o100640,
    ]);
    expect([reply.u64(at + 32), reply.u64(at + 40), reply.u64(at + 48)]).toEqual([
      s.ino,
      s.size,
      s.blocks,
    ]);
    const time = (offset: number): bigint =>
      reply.body.readBigInt64LE(at + offset) * 1_000_000_000n + BigInt(reply.u32(at + offset + 8));
    expect([time(80), time(96), time(112)]).toEqual([s.birthtimeNs, s.ctimeNs, s.mtimeNs]);
    expect(s.mtimeNs).toBe(-5_000_000_000n + 250n);
    expect(reply.body.subarray(at + 144).every((byte) => byte === 0)).toBe(true);
  });
});

describe.skipIf(!has({ root: true }))('SETATTR', () => {
  it('of a lower file copies it up with the change, and answers with its new attributes', () => {
    const node = e.node('f');
    const ino = lstatSync(lower('f'), { bigint: true }).ino;
    const reply = setattr(node, { valid: MODE, mode: 0o100751 });
    expect(reply.body).toEqual(attrOut(upper('f'), { ino }));
    expect(lstatSync(upper('f')).mode).toBe(0o100751);
    expect([lstatSync(upper('f')).uid, lstatSync(upper('f')).gid]).toEqual([11, 12]);
    expect(lstatSync(upper('f'), { bigint: true }).mtimeNs).toBe(-4_999_999_750n);
    expect(readFileSync(upper('f'), 'latin1')).toBe('hello, lower');
    expect(lstatSync(lower('f')).mode).toBe(0o100640);
  });

  it('of owner and group, together or one', () => {
    const node = e.node('f');
    setattr(node, { valid: UID, uid: 4_000_000_000 });
    expect([lstatSync(upper('f')).uid, lstatSync(upper('f')).gid]).toEqual([4_000_000_000, 12]);
    setattr(node, { valid: UID | GID, uid: 1, gid: 2 });
    expect([lstatSync(upper('f')).uid, lstatSync(upper('f')).gid]).toEqual([1, 2]);
  });

  it('of owner takes set-id bits away, as chown does', () => {
    const reply = setattr(e.node('suid'), { valid: UID, uid: 77 });
    expect(reply.u32(16 + 60)).toBe(0o100755);
  });

  it('of times: given ones, before 1970 too, and now', () => {
    const node = e.node('f');
    const times = { atime: [-100, 1], mtime: [4_000_000_000, 999_999_999] } as const;
    setattr(node, { valid: ATIME | MTIME, ...times });
    const stat = lstatSync(upper('f'), { bigint: true });
    expect(stat.atimeNs).toBe(-100n * 1_000_000_000n + 1n);
    expect(stat.mtimeNs).toBe(4_000_000_000_999_999_999n);
    setattr(node, { valid: MTIME | MTIME_NOW });
    expect(Math.abs(lstatSync(upper('f')).mtimeMs - Date.now())).toBeLessThan(10_000);
    expect(lstatSync(upper('f'), { bigint: true }).atimeNs).toBe(-100n * 1_000_000_000n + 1n);
    setattr(node, { valid: ATIME | ATIME_NOW });
    expect(Math.abs(lstatSync(upper('f')).atimeMs - Date.now())).toBeLessThan(10_000);
  });

  it('of size: to nothing without copying data, to less, to more with zeros', () => {
    const big = e.node('big');
    const whole = readFileSync(lower('big'));
    expect(setattr(big, { valid: SIZE, size: 10_000 }).u64(16 + 8)).toBe(10_000n);
    expect(readFileSync(upper('big'))).toEqual(whole.subarray(0, 10_000));
    setattr(big, { valid: SIZE, size: 10_003 });
    expect(readFileSync(upper('big')).subarray(9_999)).toEqual(
      Buffer.concat([whole.subarray(9_999, 10_000), Buffer.alloc(3)]),
    );
    const f = e.node('f');
    expect(setattr(f, { valid: SIZE, size: 0 }).u64(16 + 8)).toBe(0n);
    expect(readFileSync(upper('f'), 'latin1')).toBe('');
  });

  it('of a size beyond what the file system has', () => {
    expect(setattr(e.node('f'), { valid: SIZE, size: 1n << 60n }).error).toBe(-E.EFBIG);
    expect(setattr(e.node('u'), { valid: SIZE, size: 5_000_000_000n }).u64(16 + 8)).toBe(
      5_000_000_000n,
    );
  });

  it('with KILL_SUIDGID clears set-id bits of the upper file', () => {
    const reply = setattr(e.node('u'), { valid: SIZE | KILL_SUIDGID, size: 2 });
    expect(reply.u32(16 + 60)).toBe(0o100711);
    expect(setattr(e.node('suid'), { valid: KILL_SUIDGID }).u32(16 + 60)).toBe(0o100755);
  });

  it('with nothing that it stores copies nothing up', () => {
    expect(setattr(e.node('f'), { valid: CTIME }).error).toBe(0);
    expect(e.ov.copyUps).toBe(0);
  });

  it('of a directory and of a symlink changes that object, never a target', () => {
    setattr(e.node('d'), { valid: MODE | MTIME, mode: 0o040700, mtime: [7, 8] });
    expect(lstatSync(upper('d')).mode).toBe(0o040700);
    expect(lstatSync(upper('d'), { bigint: true }).mtimeNs).toBe(7_000_000_008n);
    setattr(e.node('sym'), { valid: UID | MTIME, uid: 9, mtime: [5, 6] });
    expect(lstatSync(upper('sym')).uid).toBe(9);
    expect(lstatSync(upper('sym'), { bigint: true }).mtimeNs).toBe(5_000_000_006n);
  });

  it('reaches the orphan of a removed file', () => {
    const node = e.node('f');
    e.must(Op.UNLINK, 1, wire`${cstr('f')}`);
    expect(setattr(node, { valid: MODE, mode: 0o100600 }).u32(16 + 60)).toBe(0o100600);
    expect(setattr(node, { valid: SIZE, size: 4 }).u64(16 + 8)).toBe(4n);
    expect(lstatSync(upper('f')).isCharacterDevice()).toBe(true);
  });

  it('on a read-only mount is EROFS', async () => {
    e.close();
    e = await Engine.open({ ...PARTS, upper: false });
    expect(setattr(e.node('f'), { valid: MODE, mode: 0o600 }).error).toBe(-E.EROFS);
  });
});

describe.skipIf(!has({ root: true }))('STATFS', () => {
  it('tells of the file system of the upper', () => {
    const reply = e.must(Op.STATFS, 1);
    const s = statfsSync(upper(''));
    expect(reply.body).toHaveLength(80);
    expect([reply.u64(0), reply.u64(24)]).toEqual([BigInt(s.blocks), BigInt(s.files)]);
    expect([reply.u32(40), reply.u32(44), reply.u32(48)]).toEqual([s.bsize, 255, s.bsize]);
    expect(reply.u64(8)).toBeGreaterThanOrEqual(reply.u64(16));
    expect(reply.body.subarray(52).every((byte) => byte === 0)).toBe(true);
  });
});

describe.skipIf(!has({ root: true }))('FSYNC and FSYNCDIR', () => {
  const body = (flags: number): Buffer => wire`
    00 00 00 00 00 00 00 00   fh
    ${u32(flags)}             fsync_flags
    00 00 00 00               padding`;

  it.each([0, 1])('succeed on upper and lower objects (flags %i)', (flags) => {
    for (const name of ['u', 'f']) {
      expect(e.must(Op.FSYNC, e.node(name), body(flags)).body).toHaveLength(0);
    }
    for (const node of [1, e.node('d')]) {
      expect(e.must(Op.FSYNCDIR, node, body(flags)).body).toHaveLength(0);
    }
    expect(e.ov.copyUps).toBe(0);
  });

  it.each(['volatile', 'fsync=0'] as const)('are not asked again with %s', async (durability) => {
    e.close();
    e = await Engine.open({ ...PARTS, spec: { durability, metacopy: false } });
    expect(e.ask(Op.FSYNC, e.node('u'), body(0)).error).toBe(-E.ENOSYS);
    expect(e.ask(Op.FSYNCDIR, 1, body(0)).error).toBe(-E.ENOSYS);
  });
});

describe.skipIf(!has({ root: true }))('IOCTL', () => {
  const ioctl = (node: number, cmd: number, given: Buffer, outSize: number): Reply =>
    e.ask(
      Op.IOCTL,
      node,
      Buffer.concat([
        wire`
          00 00 00 00 00 00 00 00   fh
          00 00 00 00               flags
          ${u32(cmd)}               cmd
          ${u64(0x7fff0000)}        arg
          ${u32(given.length)}      in_size
          ${u32(outSize)}           out_size`,
        given,
      ]),
    );
  const [GETFLAGS, SETFLAGS, FSGETXATTR] = [0x80086601, 0x40086602, 0x801c581f];
  const NODUMP = 0x40;

  const flagsOf = (path: string): string =>
    execFileSync('lsattr', ['-l', path], { encoding: 'latin1' }).slice(path.length).trim();

  it('reads inode flags of a lower file without copying it', () => {
    const reply = ioctl(e.node('f'), GETFLAGS, Buffer.alloc(0), 8);
    expect([reply.error, reply.u64(0)]).toEqual([0, 0n]); // result, flags
    expect(reply.body).toHaveLength(16 + 4);
    expect(e.ov.copyUps).toBe(0);
  });

  it('sets inode flags of an upper file', () => {
    const node = e.node('u');
    const before = ioctl(node, GETFLAGS, Buffer.alloc(0), 8).u32(16);
    expect(ioctl(node, SETFLAGS, wire`${u64(before | NODUMP)}`, 0).error).toBe(0);
    expect(ioctl(node, GETFLAGS, Buffer.alloc(0), 8).u32(16)).toBe(before | NODUMP);
    expect(flagsOf(upper('u'))).toContain('No_Dump');
  });

  it('sets inode flags of a lower file on its copy', () => {
    const node = e.node('f');
    const before = ioctl(node, GETFLAGS, Buffer.alloc(0), 8).u32(16);
    expect(ioctl(node, SETFLAGS, wire`${u64(before | NODUMP)}`, 0).error).toBe(0);
    expect(e.ov.copyUps).toBe(1);
    expect(flagsOf(lower('f'))).not.toContain('No_Dump');
    expect(flagsOf(upper('f'))).toContain('No_Dump');
    expect(flagsOf(upper('f'))).not.toContain('Synchronous');
  });

  it('reads project attributes, of a directory too', () => {
    for (const node of [e.node('f'), e.node('d'), 1]) {
      const reply = ioctl(node, FSGETXATTR, Buffer.alloc(0), 28);
      expect(reply.error).toBe(0);
      expect(reply.body).toHaveLength(16 + 28);
    }
  });

  it('answers any other with ENOTTY', () => {
    for (const cmd of [0x5401, 0x40049409, 0xc0045877]) {
      expect(ioctl(e.node('f'), cmd, Buffer.alloc(4), 4).error).toBe(-E.ENOTTY);
    }
  });
});

describe.skipIf(!has({ root: true }))('a file whose mode changed on copy-up', () => {
  it('keeps the mode of a directory that its owner may not write', () => {
    chmodSync(lower('d'), 0o555);
    const body = wire`${u32(0o100644)} ${u32(0)} ${u32(0)} ${u32(0)} ${cstr('in')}`;
    expect(e.ask(Op.MKNOD, e.node('d'), body).error).toBe(0);
    expect(lstatSync(upper('d')).mode).toBe(0o040555);
  });
});
