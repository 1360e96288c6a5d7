/** Requests that are shorter than their opcode says: each is refused with one reply, and changes nothing. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { isWhole, Meaning, type Opcode, opcodes } from '../../src/fuse/opcodes.js';
import { Op, opcodeName } from '../../src/protocol/opcodes.js';
import { IN } from '../../src/sys/memory.js';
import { cstr, Engine, raw, request, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file } from '../support/tree.js';

const known = opcodes
  .map((opcode, code) => ({ code, name: opcodeName(code), opcode }))
  .filter((each): each is typeof each & { opcode: Opcode } => each.opcode !== undefined);
const withBody = known.filter(({ opcode }) => opcode.struct > 0 || opcode.names > 0);
const replying = withBody.filter(({ opcode }) => opcode.replies);
const silent = withBody.filter(({ opcode }) => !opcode.replies);

/** setxattrExt is agreed on in these tests, so SETXATTR has its longer struct. */
const structOf = ({ struct }: Opcode, code: number): number => (code === Op.SETXATTR ? 16 : struct);

/** The shortest body that is whole: a struct of zeros, and names "a", "b". */
function shortest(opcode: Opcode, code: number): Buffer {
  const names = 'a\0b\0'.slice(0, 2 * opcode.names);
  return Buffer.concat([Buffer.alloc(structOf(opcode, code)), Buffer.from(names)]);
}

describe.skipIf(!has({ root: true }))('a request that is too short', () => {
  let e: Engine;
  beforeEach(async () => {
    e = await Engine.open({ lowers: [[dir('d'), file('f', 'hello')]] });
  });
  afterEach(() => {
    e.close();
  });
  const untouched = (): void => {
    expect(readdirSync(join(e.top, 'upper'))).toEqual([]);
    expect(e.text('f')).toBe('hello');
  };

  it('is one of nearly all opcodes', () => {
    expect(known.length).toBeGreaterThan(40);
    expect(replying.length + silent.length).toBe(known.length - 3); // READLINK, STATFS, DESTROY
  });

  it.each(replying)('$name gets EINVAL, one byte short or empty', ({ code, opcode }) => {
    const body = shortest(opcode, code);
    for (const length of [body.length - 1, Math.max(0, structOf(opcode, code) - 1), 0]) {
      expect(e.ask(code, e.node('f'), body.subarray(0, length)).error).toBe(-E.EINVAL);
    }
    untouched();
  });

  it.each(silent)('$name gets no reply, and is not served', ({ code, opcode }) => {
    const { size } = e.ov.table;
    const node = e.node('f');
    const body = shortest(opcode, code).fill(1);
    for (const length of [body.length - 1, 0]) {
      expect(e.send(request(code, node, body.subarray(0, length)))).toBeUndefined();
    }
    expect(e.ov.table.size).toBe(size + 1);
    untouched();
  });

  it.each(replying)('$name is whole with its last byte', ({ code, opcode }) => {
    e.sys.u8.set(request(code, 1, shortest(opcode, code)), IN);
    expect(isWhole(e.session, opcode)).toBe(true);
  });

  it('has a name without its NUL, though bytes follow it in the buffer', () => {
    const bytes = request(Op.LOOKUP, 1, wire`${raw('f')}`);
    expect(e.send(bytes)?.error).toBe(-E.EINVAL);
    expect(e.ask(Op.RENAME2, 1, wire`${u64(1)} ${u64(0)} ${cstr('f')} ${raw('g')}`).error).toBe(
      -E.EINVAL,
    );
    expect(e.ask(Op.SYMLINK, 1, wire`${cstr('s')}`).error).toBe(-E.EINVAL);
    untouched();
  });

  it('has less data than it says', () => {
    const f = e.node('f');
    const write = wire`
      ${u64(0)} ${u64(0)} ${u32(5)} ${u32(0)}  fh, offset, size 5, write_flags
      ${u64(0)} ${u64(0)}                      lock_owner, flags
      ${raw('1234')}`;
    expect(e.ask(Op.WRITE, f, write).error).toBe(-E.EINVAL);
    const set = wire`${u32(4)} ${u32(0)} ${u64(0)} ${cstr('user.a')} ${raw('123')}`;
    expect(e.ask(Op.SETXATTR, f, set).error).toBe(-E.EINVAL);
    const ioctl = wire`${u64(0)} ${u32(0)} ${u32(0x40086602)} ${u64(0)} ${u32(8)} ${u32(0)} ${u32(0)}`;
    expect(e.ask(Op.IOCTL, f, ioctl).error).toBe(-E.EINVAL);
    untouched();
  });

  it('tells of more forgets than it has', () => {
    const node = e.node('f');
    const { size } = e.ov.table;
    const one = wire`${u32(2)} ${u32(0)} ${u64(node)} ${u64(1)}  count 2, then one of them`;
    expect(e.send(request(Op.BATCH_FORGET, 0, one))).toBeUndefined();
    expect(e.ov.table.size).toBe(size);
  });

  it('is short but for the groups of its maker, which follow the body', () => {
    const body = wire`${u32(0o40755)} ${u32(0)} ${raw('new')}`;
    const groups = wire`${u32(16)} ${u32(32)} ${u32(1)} ${u32(0)}  fuse_ext_header, nr_groups, group 0`;
    const bytes = request(Op.MKDIR, 1, Buffer.concat([body, groups]));
    bytes.writeUInt16LE(2, 36); // total_extlen, in units of 8
    expect(e.send(bytes)?.error).toBe(-E.EINVAL);
    untouched();
  });
});

it('which node is meant is told for each opcode', () => {
  const unchecked = known.filter(({ opcode }) => opcode.node === Meaning.Unchecked);
  expect(unchecked.map(({ name }) => name).toSorted()).toEqual([
    'BATCH_FORGET',
    'DESTROY',
    'FORGET',
    'INIT',
    'INTERRUPT',
  ]);
});
