/** Requests about a file's data, byte for byte. */
import {
  closeSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import { MAX_IO } from '../../src/sys/memory.js';
import {
  cstr,
  Engine,
  type EngineParts,
  makeLayers,
  readIn,
  type Reply,
  u32,
  u64,
  wire,
} from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file } from '../support/tree.js';

const MIB = 1 << 20;

/** No two aligned words of it are equal. */
// Compared with equals(): toEqual looks at each byte by itself, some seconds a MiB.
const BIG = Buffer.from(Uint32Array.from({ length: (3 * MIB) / 4 }, (_, i) => i + 1).buffer);

const PARTS: EngineParts = {
  lowers: [
    [
      file('f', 'hello, lower'),
      file('big'),
      file('hole', { size: 8192, seed: 2, hole: 4 * MIB }),
      dir('d'),
    ],
  ],
  upper: [file('u', 'upper', { mode: 0o6755 })],
};

let e: Engine;
beforeEach(async () => {
  const top = await makeLayers(PARTS);
  writeFileSync(join(top, 'lower0/big'), BIG);
  e = new Engine(top, PARTS);
});
afterEach(() => {
  e.close();
});
const upper = (name: string): string => join(e.top, 'upper', name);
const lower = (name: string): string => join(e.top, 'lower0', name);

const read = (node: number, offset: number | bigint, size: number): Reply =>
  e.ask(Op.READ, node, readIn(offset, size));

const write = (node: number, offset: number | bigint, data: Buffer, flags = 0): Reply =>
  e.ask(
    Op.WRITE,
    node,
    Buffer.concat([
      wire`
        ${u64(0)}              fh
        ${u64(offset)}         offset
        ${u32(data.length)}    size
        ${u32(flags)}          write_flags
        ${u64(0)}              lock_owner
        00 00 00 00            flags
        00 00 00 00            padding`,
      data,
    ]),
  );

describe.skipIf(!has({ root: true }))('READ', () => {
  it('gives the bytes, fewer at the end, none beyond it', () => {
    const node = e.node('f');
    expect(read(node, 0, 4096).text()).toBe('hello, lower');
    expect(read(node, 7, 3).text()).toBe('low');
    expect(read(node, 12, 10).body).toHaveLength(0);
    expect(read(node, 1n << 62n, 10).body).toHaveLength(0);
    expect(e.ov.copyUps).toBe(0);
  });

  it('fills the largest reply', () => {
    const reply = read(e.node('big'), MIB, MAX_IO);
    expect(BIG.subarray(MIB, 2 * MIB).equals(reply.body)).toBe(true);
  });

  it('never gives more than a reply holds', () => {
    expect(read(e.node('big'), 0, 0xffffffff).body).toHaveLength(MAX_IO);
  });
});

describe.skipIf(!has({ root: true }))('WRITE', () => {
  it('copies a lower file up first, then writes; the layer is untouched', () => {
    const node = e.node('f');
    const reply = write(node, 7, Buffer.from('UPPER!'));
    expect(reply.body).toEqual(wire`
      06 00 00 00   size
      00 00 00 00   padding`);
    expect(readFileSync(upper('f'), 'latin1')).toBe('hello, UPPER!');
    expect(readFileSync(lower('f'), 'latin1')).toBe('hello, lower');
    expect(read(node, 0, 100).text()).toBe('hello, UPPER!');
  });

  it('takes the largest payload, and one beyond the end of the file', () => {
    const node = e.node('u');
    const data = BIG.subarray(0, MIB);
    expect(write(node, 5_000_000_000n, data).u32(0)).toBe(MIB);
    expect(lstatSync(upper('u')).size).toBe(5_000_000_000 + MIB);
    expect(data.equals(read(node, 5_000_000_000n, MIB).body)).toBe(true);
  });

  it('with WRITE_KILL_SUIDGID takes set-id bits away, without it keeps them', () => {
    const node = e.node('u');
    write(node, 0, Buffer.from('a'));
    // The engine writes as root, which write(2) lets keep set-id bits: only the flag says otherwise.
    expect(lstatSync(upper('u')).mode & 0o7777).toBe(0o6755);
    write(node, 0, Buffer.from('b'), 4);
    expect(lstatSync(upper('u')).mode & 0o7777).toBe(0o755);
    expect(e.must(Op.GETATTR, node, Buffer.alloc(16)).u32(16 + 60)).toBe(0o100755);
  });

  it("of the kernel's cached pages (WRITE_CACHE) works as any other", () => {
    expect(write(e.node('f'), 0, Buffer.from('J'), 1).u32(0)).toBe(1);
    expect(readFileSync(upper('f'), 'latin1')).toBe('Jello, lower');
  });

  it('to a removed file reaches the orphan, lower or upper, and no name', () => {
    for (const name of ['f', 'u']) {
      const node = e.node(name);
      e.must(Op.UNLINK, 1, wire`${cstr(name)}`);
      expect(write(node, 0, Buffer.from('ZZ')).u32(0)).toBe(2);
      expect(read(node, 0, 3).text().slice(0, 2)).toBe('ZZ');
    }
    expect(readFileSync(lower('f'), 'latin1')).toBe('hello, lower');
  });

  it('on a read-only mount is EROFS', async () => {
    e.close();
    e = await Engine.open({ lowers: [[file('f', 'x')]], upper: false });
    expect(write(e.node('f'), 0, Buffer.from('y')).error).toBe(-E.EROFS);
  });
});

describe.skipIf(!has({ root: true }))('FALLOCATE', () => {
  const fallocate = (node: number, offset: number, length: number, mode: number): Reply =>
    e.ask(
      Op.FALLOCATE,
      node,
      wire`
        ${u64(0)}        fh
        ${u64(offset)}   offset
        ${u64(length)}   length
        ${u32(mode)}     mode
        00 00 00 00      padding`,
    );

  it('allocates in the copy of a lower file', () => {
    expect(fallocate(e.node('f'), 0, 100_000, 0).body).toHaveLength(0);
    expect(lstatSync(upper('f')).size).toBe(100_000);
    expect(lstatSync(lower('f')).size).toBe(12);
  });

  it('punches a hole and keeps the size', () => {
    const node = e.node('big');
    expect(fallocate(node, 0, MIB, 3).error).toBe(0);
    const data = readFileSync(upper('big'));
    expect(data).toHaveLength(3 * MIB);
    expect(data.subarray(0, MIB).every((byte) => byte === 0)).toBe(true);
    expect(data.subarray(MIB).equals(BIG.subarray(MIB))).toBe(true);
  });

  it('of nonsense is refused', () => {
    expect(fallocate(e.node('u'), 0, 0, 0).error).toBe(-E.EINVAL);
    expect(fallocate(e.node('u'), 0, 10, 0x8000).error).toBe(-E.EOPNOTSUPP);
  });
});

describe.skipIf(!has({ root: true }))('LSEEK', () => {
  const lseek = (node: number, offset: number, whence: number): Reply =>
    e.ask(
      Op.LSEEK,
      node,
      wire`
        ${u64(0)}        fh
        ${u64(offset)}   offset
        ${u32(whence)}   whence
        00 00 00 00      padding`,
    );
  const [DATA, HOLE] = [3, 4];

  it('finds data and holes of a lower file without copying it', () => {
    const node = e.node('hole');
    expect(lseek(node, 0, DATA).body).toEqual(wire`${u64(4 * MIB)}  offset`);
    expect(lseek(node, 0, HOLE).u64(0)).toBe(0n);
    expect(lseek(node, 4 * MIB, HOLE).u64(0)).toBe(BigInt(4 * MIB + 8192));
    expect(lseek(node, 100 * MIB, DATA).error).toBe(-E.ENXIO);
    expect(e.ov.copyUps).toBe(0);
  });

  it('finds the same hole after copy-up', () => {
    const node = e.node('hole');
    expect(write(node, 4 * MIB, Buffer.from('x')).error).toBe(0);
    expect(lseek(node, 0, DATA).u64(0)).toBe(BigInt(4 * MIB));
    expect(lstatSync(upper('hole')).blocks * 512).toBeLessThan(MIB);
  });
});

describe.skipIf(!has({ root: true }))('COPY_FILE_RANGE', () => {
  const copy = (op: number, from: number, to: number, length: number | bigint): Reply =>
    e.ask(
      op,
      from,
      wire`
        ${u64(0)}        fh_in
        ${u64(7)}        off_in
        ${u64(to)}       nodeid_out
        ${u64(0)}        fh_out
        ${u64(2)}        off_out
        ${u64(length)}   len
        ${u64(0)}        flags`,
    );

  it('copies from a lower file, and copies only the target up', () => {
    const reply = copy(Op.COPY_FILE_RANGE, e.node('f'), e.node('u'), 5);
    expect(reply.body).toEqual(wire`
      05 00 00 00   size
      00 00 00 00   padding`);
    expect(readFileSync(upper('u'), 'latin1')).toBe('uplower');
    expect(e.ov.copyUps).toBe(0);
  });

  it('in its 64-bit form gives a 64-bit count', () => {
    const reply = copy(Op.COPY_FILE_RANGE_64, e.node('f'), e.node('u'), 5);
    expect(reply.body).toEqual(wire`${u64(5)}  bytes_copied`);
  });

  it.each([Op.COPY_FILE_RANGE, Op.COPY_FILE_RANGE_64])(
    'copies up to the end when asked for more than there is (opcode %i)',
    (op) => {
      expect(copy(op, e.node('f'), e.node('u'), 1n << 40n).u32(0)).toBe(5);
      expect(copy(op, e.node('f'), e.node('u'), 0xffff_ffff_ffff_f000n).u32(0)).toBe(5);
    },
  );

  it('copies a lower target up first', () => {
    expect(copy(Op.COPY_FILE_RANGE, e.node('u'), e.node('f'), 100).u32(0)).toBe(0);
    expect(copy(Op.COPY_FILE_RANGE, e.node('big'), e.node('f'), 10).u32(0)).toBe(10);
    expect(readFileSync(upper('f')).subarray(2, 12)).toEqual(BIG.subarray(7, 17));
    expect(readFileSync(lower('f'), 'latin1')).toBe('hello, lower');
  });
});

describe.skipIf(!has({ root: true }))('a layer file that shrinks while it is copied', () => {
  it('never gives a copy with bytes that were not there', () => {
    // Undefined by the contract (layers are immutable); what must hold is that nothing breaks.
    const fd = openSync(lower('big'), 'r+');
    ftruncateSync(fd, 10);
    writeSync(fd, 'abc', 0);
    closeSync(fd);
    const node = e.node('big');
    expect(write(node, 0, Buffer.from('x')).u32(0)).toBe(1);
    expect(lstatSync(upper('big')).size).toBe(10);
  });
});
