/**
 * Opens by their bytes, with the kernel's side played here: which file is registered for which open.
 * The rule above all: a lower file never is for one that writes.
 */
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Backings } from '../../src/overlay/data/backings.js';
import { Fopen } from '../../src/protocol/flags.js';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type EngineParts, initBody, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { file } from '../support/tree.js';

const RDONLY = 0;
const WRONLY = 1;
const RDWR = 2;
const CREAT = 0o100;
const TRUNC = 0o1000;
const PASSTHROUGH = 1 << 7;
const DIRECT_IO = 1;

const PARTS: EngineParts = {
  lowers: [[file('low', 'lower data'), file('empty')]],
  upper: [file('up', 'upper data')],
  spec: { data: 'passthrough', writeback: false, metacopy: true },
};

let e: Engine;
/** Path below the engine's directory by backing id, and the nodes whose attributes were dropped. */
let files: Map<number, string>;
let invalidated: number[];

async function start(): Promise<void> {
  e = await Engine.open(PARTS);
  files = new Map();
  invalidated = [];
  let last = 0;
  e.ov.backings = new Backings({
    open: (fd) => {
      // A lower is a clone of its mount, whose paths begin at the layer.
      files.set(++last, readlinkSync(`/proc/self/fd/${fd}`).replace(join(e.top, ''), ''));
      return last;
    },
    close: (id) => {
      if (!files.delete(id)) throw new Error(`backing ${id} is not there`);
    },
    invalidate: (node) => invalidated.push(node),
  });
}
afterEach(() => {
  e.close();
});

const openBody = (flags: number): Buffer => wire`
  ${u32(flags)}  flags
  ${u32(0)}      open_flags`;

interface Opened {
  readonly flags: number;
  readonly fh: bigint;
  readonly id: number;
}

function open(node: number, flags: number): Opened {
  const reply = e.must(Op.OPEN, node, openBody(flags));
  expect(reply.body.length).toBe(16);
  return { fh: reply.u64(0), flags: reply.u32(8), id: reply.u32(12) };
}

function release(node: number, { fh }: Opened): void {
  const body = wire`
    ${u64(fh)}            fh
    ${u32(0)} ${u32(0)}   flags, release_flags
    ${u64(0)}             lock_owner`;
  e.must(Op.RELEASE, node, body);
}

const UPPER_UP = /upper\/up$/;
const UPPER_LOW = /upper\/low$/;

describe.skipIf(!has({ root: true }))('INIT of the passthrough plane', () => {
  const raw = async (): Promise<void> => {
    e = await Engine.open({ ...PARTS, noInit: true });
  };

  it('asks for opens, truncating ones, and a stack of one; not for writeback', async () => {
    await raw();
    const reply = e.must(Op.INIT, 0, initBody(45));
    expect(reply.u32(12) & (1 << 3)).not.toBe(0); // ATOMIC_O_TRUNC
    expect(reply.u32(12) & (1 << 16)).toBe(0); // WRITEBACK_CACHE
    expect(reply.u32(12) & (1 << 17)).toBe(0); // NO_OPEN_SUPPORT
    expect(reply.u32(32) & (1 << 5)).not.toBe(0); // PASSTHROUGH
    expect(reply.u32(36)).toBe(1);
  });

  it('fails, with a sentence, on a kernel without it', async () => {
    await raw();
    expect(e.ask(Op.INIT, 0, initBody(45, 0x7bffffff, 0x7ff & ~(1 << 5))).error).toBe(
      -E.EOPNOTSUPP,
    );
    expect([e.session.minor, e.session.failure]).toEqual([
      0,
      expect.stringMatching(/no FUSE passthrough/) as string,
    ]);
  });
});

describe.skipIf(!has({ root: true }))('OPEN', () => {
  it('is ENOSYS in the cached plane, CREATE too', async () => {
    e = await Engine.open({ lowers: [[file('low', 'x')]] });
    expect(e.ask(Op.OPEN, e.node('low'), openBody(RDONLY)).error).toBe(-E.ENOSYS);
    const body = wire`${u32(RDWR | CREAT)} ${u32(0o644)} ${u32(0)} ${u32(0)} ${cstr('new')}`;
    expect(e.ask(Op.CREATE, 1, body).error).toBe(-E.ENOSYS);
  });

  it('registers the lower file for readers, once', async () => {
    await start();
    const node = e.node('low');
    const first = open(node, RDONLY);
    expect(first.flags).toBe(PASSTHROUGH);
    expect(files.get(first.id)).toMatch(/low$/);
    expect(files.get(first.id)).not.toMatch(UPPER_LOW);
    expect(open(node, RDONLY).id).toBe(first.id);
    expect(e.ov.copyUps).toBe(0);
  });

  it.each([WRONLY, RDWR, 3, RDONLY | TRUNC, RDWR | TRUNC])(
    'registers the upper file for one that writes (flags %i), though the lower one was',
    async (flags) => {
      await start();
      const node = e.node('low');
      const reader = open(node, RDONLY);
      release(node, reader);
      const writer = open(node, flags);
      expect(files.get(writer.id)).toMatch(UPPER_LOW);
      expect([...files.keys()]).toEqual([writer.id]);
      expect(e.text('low')).toBe((flags & TRUNC) === 0 ? 'lower data' : '');
    },
  );

  it('is ESTALE under readers of the lower file, and copies nothing; the name has a new node', async () => {
    await start();
    const old = e.node('low');
    const ino = e.lookup(1, 'low').u64(40);
    const reader = open(old, RDONLY);
    expect(e.ask(Op.OPEN, old, openBody(RDWR)).error).toBe(-E.ESTALE);
    expect([e.ov.copyUps, invalidated]).toEqual([0, [old]]);
    const entry = e.lookup(1, 'low');
    const node = entry.u32(0);
    expect(node).not.toBe(old);
    expect([entry.u64(40), entry.u64(24)]).toEqual([ino, 0n]); // ino; no validity of attributes
    const writer = open(node, RDWR);
    expect(files.get(writer.id)).toMatch(UPPER_LOW);
    expect(files.get(reader.id)).not.toMatch(UPPER_LOW);
    release(old, reader);
    expect([...files.keys()]).toEqual([writer.id]);
  });

  it('of an empty lower file registers nothing, so that it can be written under its readers', async () => {
    await start();
    const node = e.node('empty');
    const reader = open(node, RDONLY);
    expect([reader.flags, reader.id, files.size]).toEqual([DIRECT_IO, 0, 0]);
    const writer = open(node, RDWR);
    expect(writer.flags).toBe(PASSTHROUGH);
    release(node, reader);
    expect(e.ov.backings?.open).toBe(1);
  });

  it('for mapped writing ends the validity of attributes, once', async () => {
    await start();
    const node = e.node('up');
    const validity = (): number => e.must(Op.GETATTR, node, Buffer.alloc(16)).u32(0);
    expect(validity()).not.toBe(0);
    expect(files.get(open(node, WRONLY).id)).toMatch(UPPER_UP);
    expect(validity()).not.toBe(0);
    open(node, RDWR);
    open(node, RDWR);
    expect([validity(), invalidated]).toEqual([0, [node]]);
  });

  it('has made a CREATE whose file cannot be registered, and serves it itself', async () => {
    await start();
    e.ov.backings = new Backings({
      open: () => -E.ELOOP,
      close: () => undefined,
      invalidate: () => undefined,
    });
    const body = wire`${u32(RDWR | CREAT)} ${u32(0o644)} ${u32(0)} ${u32(0)} ${cstr('new')}`;
    const reply = e.must(Op.CREATE, 1, body);
    expect(reply.u32(128 + 8)).toBe(Fopen.DIRECT_IO);
    expect(e.lookup(1, 'new').u64(0)).toBe(reply.u64(0));
  });
});
