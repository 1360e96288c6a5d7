/** Requests about the connection, and what every request has in common: headers, nodes, forgets. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import { OUT } from '../../src/sys/memory.js';
import {
  cstr,
  Engine,
  type EngineParts,
  GID,
  initBody,
  request,
  u32,
  u64,
  UID,
  UNIQUE,
  wire,
} from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file } from '../support/tree.js';

const LAYERS: EngineParts = { lowers: [[dir('d'), file('d/inner', 'x'), file('f', 'hello')]] };

let e: Engine;
const start = async (parts: EngineParts = LAYERS): Promise<Engine> =>
  (e = await Engine.open(parts));
afterEach(() => {
  e.close();
});

describe.skipIf(!has({ root: true }))('a request and its reply', () => {
  beforeEach(() => start());

  it('carry the header byte for byte', () => {
    const bytes = wire`
      2a 00 00 00              len 42
      01 00 00 00              opcode LOOKUP
      0d f0 ad ba ef be ad de  unique
      01 00 00 00 00 00 00 00  nodeid FUSE_ROOT_ID
      0d d0 01 c0              uid
      fe ca 01 c0              gid
      be ba de c0              pid
      00 00 00 00              total_extlen, padding
      66 00                    name "f"`;
    expect(bytes).toEqual(request(Op.LOOKUP, 1, wire`${cstr('f')}`));
    expect(e.send(bytes)?.error).toBe(0);
    const header = Buffer.from(e.sys.u8.slice(OUT, OUT + 16));
    expect(header).toEqual(wire`
      90 00 00 00              len: fuse_out_header and fuse_entry_out
      00 00 00 00              error
      0d f0 ad ba ef be ad de  unique`);
  });

  it('answers an error with the header alone', () => {
    expect(e.send(request(Op.READLINK, e.node('f'), Buffer.alloc(0)))?.error).toBe(-E.EINVAL);
    const header = Buffer.from(e.sys.u8.slice(OUT, OUT + 16));
    expect(header).toEqual(wire`
      10 00 00 00              len
      ${u32(-22)}              error -EINVAL
      ${u64(UNIQUE)}           unique`);
  });

  it.each([7, 19, 54, 63, 64, 2048, 4096, 0xffffffff])('answers opcode %i with ENOSYS', (code) => {
    expect(e.ask(code, 1, wire`${u64(0)}`).error).toBe(-E.ENOSYS);
  });

  it.each(['GETLK', 'SETLK', 'SETLKW', 'BMAP', 'SETUPMAPPING', 'SYNCFS'] as const)(
    'leaves %s to the kernel with ENOSYS',
    (name) => {
      expect(e.ask(Op[name], 1, wire`${u64(0)}`).error).toBe(-E.ENOSYS);
    },
  );

  it('answers a node that does not exist with ESTALE, whatever is asked of it', () => {
    const node = e.node('f');
    e.forget(node);
    for (const stale of [node, 0x00ffffff, 0xfffffffe]) {
      for (const op of [Op.GETATTR, Op.LOOKUP, Op.READ, Op.WRITE, Op.SETATTR, Op.READDIR]) {
        expect(e.ask(op, stale, Buffer.alloc(88)).error).toBe(-E.ESTALE);
      }
    }
  });

  const none = u64(0x00ffffff);
  it.each([
    ['RENAME', wire`${none} ${cstr('f')} ${cstr('g')}  newdir, name, new name`],
    ['RENAME2', wire`${none} ${u64(0)} ${cstr('f')} ${cstr('g')}  newdir, flags, name, new name`],
    ['LINK', wire`${none} ${cstr('g')}  oldnodeid, name`],
  ] as const)('answers %s with a second node that does not exist with ESTALE', (name, body) => {
    expect(e.ask(Op[name], 1, body).error).toBe(-E.ESTALE);
    expect(readdirSync(join(e.top, 'upper'))).toEqual([]);
  });

  it('answers COPY_FILE_RANGE to a node that does not exist with ESTALE', () => {
    const body = wire`
      ${u64(0)} ${u64(0)}  fh_in, off_in
      ${none}              nodeid_out
      ${u64(0)} ${u64(0)}  fh_out, off_out
      ${u64(1)} ${u64(0)}  len, flags`;
    expect(e.ask(Op.COPY_FILE_RANGE, e.node('f'), body).error).toBe(-E.ESTALE);
  });
});

describe.skipIf(!has({ root: true }))('what the kernel is told never to ask again', () => {
  beforeEach(() => start());

  it.each([
    ['OPEN', wire`${u32(0o100002)} ${u32(0)}  flags O_RDWR, open_flags`],
    ['OPENDIR', wire`${u32(0o200000)} ${u32(0)}  flags O_DIRECTORY, open_flags`],
    ['FLUSH', wire`${u64(0)} ${u64(0)} ${u64(7)}  fh, unused, lock_owner`],
    ['ACCESS', wire`${u32(4)} ${u32(0)}  mask R_OK`],
    ['POLL', wire`${u64(0)} ${u64(9)} ${u32(0)} ${u32(5)}  fh, kh, flags, events`],
  ] as const)('%s gets ENOSYS', (name, body) => {
    expect(e.ask(Op[name], e.node('f'), body).error).toBe(-E.ENOSYS);
  });

  it('CREATE gets ENOSYS and creates nothing: the kernel then sends MKNOD', () => {
    const body = wire`
      c2 80 00 00    flags O_RDWR|O_CREAT|O_EXCL|O_LARGEFILE
      a4 81 00 00    mode 0100644
      12 00 00 00    umask 022
      00 00 00 00    open_flags
      ${cstr('new')}  name`;
    expect(e.ask(Op.CREATE, 1, body).error).toBe(-E.ENOSYS);
    expect(readdirSync(join(e.top, 'upper'))).toEqual([]);
  });

  it('RELEASE and RELEASEDIR, of handles from before, are fine', () => {
    const body = wire`${u64(0)} ${u32(0)} ${u32(0)} ${u64(0)}  fh, flags, release_flags, lock_owner`;
    expect(e.ask(Op.RELEASE, e.node('f'), body).error).toBe(0);
    expect(e.ask(Op.RELEASEDIR, 1, body).error).toBe(0);
  });
});

describe.skipIf(!has({ root: true }))('INIT', () => {
  const raw = (more: Partial<EngineParts> = {}): Promise<Engine> =>
    start({ ...LAYERS, noInit: true, ...more });

  it('agrees on 7.45 with all it wants, and nothing that was not offered', async () => {
    await raw();
    const reply = e.must(Op.INIT, 0, initBody(45));
    expect(reply.body).toHaveLength(64);
    expect([reply.u32(0), reply.u32(4)]).toEqual([7, 45]);
    const flags = reply.u32(12);
    const bits = (...wanted: number[]): number => wanted.reduce((sum, bit) => sum + 2 ** bit, 0);
    // DONT_MASK 6, READDIRPLUS 13, WRITEBACK_CACHE 16, NO_OPEN 17, POSIX_ACL 20, MAX_PAGES 22,
    // CACHE_SYMLINKS 23, NO_OPENDIR 24, EXPLICIT_INVAL_DATA 25, KILLPRIV_V2 28, SETXATTR_EXT 29, INIT_EXT 30
    for (const bit of [6, 13, 16, 17, 20, 22, 23, 24, 25, 28, 29, 30]) {
      expect((flags & bits(bit)) !== 0, `flag ${bit}`).toBe(true);
    }
    // ATOMIC_O_TRUNC 3 comes with OPEN, which is not sent; EXPORT_SUPPORT 4; AUTO_INVAL_DATA 12.
    for (const bit of [3, 4, 12]) expect((flags & bits(bit)) !== 0, `flag ${bit}`).toBe(false);
    expect(reply.u32(32) & 0x40).toBe(0x40); // NO_EXPORT_SUPPORT
    expect(reply.u32(32) & 0x20).toBe(0); // no PASSTHROUGH on this plane
    expect(reply.u32(20)).toBe(1 << 20); // max_write
    expect(reply.u16(28)).toBe(256); // max_pages
    expect(reply.u32(24)).toBe(1); // time_gran: nanoseconds
    expect(reply.u16(18)).toBeLessThanOrEqual(reply.u16(16)); // congestion_threshold, max_background
    expect(e.session.minor).toBe(45);
  });

  it.each([31, 38, 45])('speaks minor %i with a kernel of that minor', async (minor) => {
    await raw();
    expect(e.must(Op.INIT, 0, initBody(minor)).u32(4)).toBe(minor);
    expect(e.session.minor).toBe(minor);
  });

  it('speaks 45 with a later kernel', async () => {
    await raw();
    expect(e.must(Op.INIT, 0, initBody(46)).u32(4)).toBe(45);
  });

  it('never answers with a flag that was not offered', async () => {
    await raw();
    const offered = 0x01120040; // DONT_MASK, NO_OPEN, POSIX_ACL, NO_OPENDIR
    const reply = e.must(Op.INIT, 0, initBody(31, offered, 0));
    expect(reply.u32(12) & ~offered).toBe(0);
    expect(reply.u32(32)).toBe(0);
  });

  it('leaves flags2 alone when INIT_EXT was not offered', async () => {
    await raw();
    expect(e.must(Op.INIT, 0, initBody(36, 0x3fffffff, 0xffffffff)).u32(32)).toBe(0);
  });

  it('refuses minor 30, another major, and a kernel without zero-message opens', async () => {
    await raw();
    expect(e.ask(Op.INIT, 0, initBody(30)).error).toBe(-E.EPROTO);
    const other = initBody(45);
    other[0] = 8;
    expect(e.ask(Op.INIT, 0, other).error).toBe(-E.EPROTO);
    expect(e.ask(Op.INIT, 0, initBody(45, 0x7bffffff & ~(1 << 17))).error).toBe(-E.EPROTO);
    expect(e.session.minor).toBe(0);
  });

  it.each([
    ['read-only', { upper: false as const }],
    ['with writeback=0', { spec: { writeback: false } }],
  ])('has no writeback cache %s', async (_, more) => {
    await raw(more);
    expect(e.must(Op.INIT, 0, initBody(45)).u32(12) & (1 << 16)).toBe(0);
  });
});

describe.skipIf(!has({ root: true }))('requests without a reply', () => {
  beforeEach(() => start());

  it('FORGET gives lookups back; the node ends with the last', () => {
    const node = e.node('f');
    for (let i = 0; i < 4; i++) expect(e.node('f')).toBe(node);
    e.forget(node, 3);
    expect(e.ask(Op.GETATTR, node, Buffer.alloc(16)).error).toBe(0);
    const bytes = request(Op.FORGET, node, wire`02 00 00 00 00 00 00 00  nlookup`);
    expect(e.send(bytes)).toBeUndefined();
    expect(e.ask(Op.GETATTR, node, Buffer.alloc(16)).error).toBe(-E.ESTALE);
    expect(e.send(bytes)).toBeUndefined();
  });

  it('FORGET counts 64 bits', () => {
    const node = e.node('f');
    e.forget(node, 0x7_0000_0000_0000n);
    expect(e.ask(Op.GETATTR, node, Buffer.alloc(16)).error).toBe(-E.ESTALE);
  });

  it('BATCH_FORGET gives back many, of which some are unknown', () => {
    const [f, d] = [e.node('f'), e.node('d')];
    const inner = e.node('d/inner');
    const body = wire`
      04 00 00 00              count
      00 00 00 00              dummy
      ${u64(d)} ${u64(2)}      nodeid, nlookup: by name, and on the way to inner
      ${u64(0xffffff)} ${u64(9)}
      ${u64(f)} ${u64(1)}
      ${u64(inner)} ${u64(1)}`;
    expect(e.send(request(Op.BATCH_FORGET, 0, body))).toBeUndefined();
    for (const node of [f, d, inner]) {
      expect(e.ask(Op.GETATTR, node, Buffer.alloc(16)).error).toBe(-E.ESTALE);
    }
    expect(e.ov.table.size).toBe(1);
  });

  it('a forgotten directory lives on under its child', () => {
    const d = e.node('d');
    const inner = e.node('d/inner');
    e.forget(d, 2);
    expect(e.ask(Op.GETATTR, inner, Buffer.alloc(16)).error).toBe(0);
    expect(e.node('d')).toBe(d);
  });

  it('INTERRUPT of a request that was answered long ago', () => {
    expect(e.send(request(Op.INTERRUPT, 0, wire`${u64(12345)}  unique`))).toBeUndefined();
  });

  it('everything forgotten, the table has one node and the arena what it had', () => {
    const used = e.ov.table.arena.used;
    const [f, inner] = [e.node('f'), e.node('d/inner')];
    e.must(Op.UNLINK, 1, wire`${cstr('f')}`);
    e.forget(f);
    e.forget(inner);
    e.forget(e.ov.table.byName(1, 'd'));
    expect(e.ov.table.size).toBe(1);
    expect(e.ov.table.arena.used).toBe(used);
  });
});

describe.skipIf(!has({ root: true }))('DESTROY', () => {
  it('is answered, and what was written is on disk', async () => {
    await start();
    const body = wire`
      ${u32(0o100600)}  mode
      ${u32(0)}         rdev
      ${u32(0)}         umask
      ${u32(0)}         padding
      ${cstr('new')}    name`;
    e.must(Op.MKNOD, 1, body);
    expect(e.must(Op.DESTROY, 0).body).toHaveLength(0);
    expect(readFileSync(join(e.top, 'upper/new'), 'latin1')).toBe('');
  });

  it('leaves no orphan in the workdir when the mount ends', async () => {
    await start({ ...LAYERS, upper: [file('u', 'x')] });
    e.node('u');
    e.must(Op.UNLINK, 1, wire`${cstr('u')}`);
    expect(readdirSync(join(e.top, 'work/work')).length).toBeGreaterThan(0);
    e.must(Op.DESTROY, 0);
    expect(existsSync(join(e.top, 'upper/u'))).toBe(false);
  });
});

describe.skipIf(!has({ root: true }))("the caller's ids", () => {
  it('own what the caller creates', async () => {
    await start();
    const reply = e.must(Op.MKDIR, 1, wire`${u32(0o777)} ${u32(0o22)} ${cstr('new')}`);
    expect([reply.u32(40 + 68), reply.u32(40 + 72)]).toEqual([UID, GID]);
    expect(reply.u32(40 + 60)).toBe(0o040755);
  });
});
