/**
 * An engine without a mount: an overlay over real temporary layers. Tests send requests in the bytes of the
 * kernel, and `dispatch` answers in bytes.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { RequestCaller } from '../../src/fuse/caller.js';
import { dispatch } from '../../src/fuse/dispatch.js';
import type { Served } from '../../src/fuse/served.js';
import { ReadAhead } from '../../src/overlay/access/readAhead.js';
import { FdCache } from '../../src/overlay/data/fdCache.js';
import { openOverlay } from '../../src/overlay/open.js';
import type { Overlay } from '../../src/overlay/overlay.js';
import type { OverlaySpec } from '../../src/overlay/spec.js';
import { Op } from '../../src/protocol/opcodes.js';
import { IN, OUT } from '../../src/sys/memory.js';
import { loadNative, type Native } from '../../src/sys/native.js';
import { Sys } from '../../src/sys/sys.js';
import { type Entry, build } from './tree.js';

// --- bytes -----------------------------------------------------------------------------------
const pairs = (bytes: Iterable<number>): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');

export function u32(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return pairs(bytes);
}
export function u64(value: number | bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return pairs(bytes);
}
/** A latin1 string's bytes and the NUL after them. */
export const cstr = (text: string): string => pairs(Buffer.from(`${text}\0`, 'latin1'));
/** A latin1 string's bytes. */
export const raw = (text: string): string => pairs(Buffer.from(text, 'latin1'));

/** Bytes, one field a row: pairs of hex digits, two blanks, what the field is. */
export function wire(rows: TemplateStringsArray, ...values: string[]): Buffer {
  const bytes: number[] = [];
  for (const row of String.raw(rows, ...values).split('\n')) {
    const [digits = ''] = row.trim().split('  ');
    if (digits === '') continue;
    if (!/^[0-9a-f]{2}( [0-9a-f]{2})*$/.test(digits)) throw new Error(`no bytes: ${row}`);
    for (const pair of digits.split(' ')) bytes.push(parseInt(pair, 16));
  }
  return Buffer.from(bytes);
}

/** What request() puts in the header: easy to recognise where they turn up. */
export const UNIQUE = 0xdeadbeef_baadf00dn;
export const UID = 0xc001d00d;
export const GID = 0xc001cafe;
/** Of nobody; user 0 asks as this process, whose rights /proc tells. */
const PID = 0xc0debabe;

/** struct fuse_read_in, of READ and READDIR. */
export const readIn = (offset: number | bigint, size: number): Buffer => wire`
  ${u64(0)}        fh
  ${u64(offset)}   offset
  ${u32(size)}     size
  00 00 00 00      read_flags
  ${u64(0)}        lock_owner
  00 00 00 00      flags
  00 00 00 00      padding`;

/** A request: fuse_in_header, then the body. */
export function request(opcode: number, node: number, body: Uint8Array, uid = UID): Buffer {
  const header = wire`
    ${u32(40 + body.length)}  len
    ${u32(opcode)}            opcode
    ${u64(UNIQUE)}            unique
    ${u64(node)}              nodeid
    ${u32(uid)}               uid
    ${u32(GID)}               gid
    ${u32(uid === 0 ? process.pid : PID)}  pid
    00 00                     total_extlen
    00 00                     padding`;
  return Buffer.concat([header, body]);
}

/** Bytes of a reply after its header; offsets are the struct's own. */
export class Reply {
  readonly error: number;
  readonly body: Buffer;

  constructor(bytes: Buffer) {
    if (bytes.readUInt32LE(0) !== bytes.length) throw new Error('the reply tells another length');
    if (bytes.readBigUInt64LE(8) !== UNIQUE) throw new Error('the reply is for another request');
    this.error = bytes.readInt32LE(4);
    this.body = bytes.subarray(16);
    if (this.error < 0 && this.body.length > 0) throw new Error('an error with a body');
  }
  u16(at: number): number {
    return this.body.readUInt16LE(at);
  }
  u32(at: number): number {
    return this.body.readUInt32LE(at);
  }
  u64(at: number): bigint {
    return this.body.readBigUInt64LE(at);
  }
  text(): string {
    return this.body.toString('latin1');
  }
}

// --- layers and engine -----------------------------------------------------------------------
export interface EngineParts {
  /** Topmost first. */
  readonly lowers: readonly (readonly Entry[])[];
  /** Absent: an empty upper. `false`: none, a read-only mount. */
  readonly upper?: readonly Entry[] | false;
  readonly spec?: Partial<OverlaySpec>;
  /** Descriptors the engine may keep. */
  readonly fds?: number;
  /** INIT is left to the test. */
  readonly noInit?: boolean;
  /** What makes the system calls; absent: the addon. */
  readonly native?: Native;
}

/** The engine's directory on disk: lower0 (the topmost), lower1 …, upper, work. */
export async function makeLayers(parts: EngineParts): Promise<string> {
  const top = mkdtempSync(join(tmpdir(), 'stratafs-engine-'));
  const make = async (name: string, entries: readonly Entry[]): Promise<void> => {
    mkdirSync(join(top, name));
    if (entries.length > 0) await build(join(top, name), entries);
  };
  for (const [i, entries] of parts.lowers.entries()) await make(`lower${i}`, entries);
  if (parts.upper !== false) {
    await make('upper', parts.upper ?? []);
    mkdirSync(join(top, 'work'));
  }
  return top;
}

function specOf(top: string, parts: EngineParts): OverlaySpec {
  const lowers = parts.lowers.map((_, i) => join(top, `lower${i}`));
  const rest = {
    durability: 'sync',
    data: 'cached',
    writeback: true,
    redirectDir: 'follow',
    metacopy: false,
    index: 'off',
    debug: false,
    ...parts.spec,
  } as const;
  if (parts.upper === false) return { lowers, readOnly: true, ...rest };
  const above = { upper: join(top, 'upper'), work: join(top, 'work') };
  return { lowers, ...above, readOnly: false, ...rest };
}

export const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

/** All flags of INIT's two words that a 6.18 kernel offers. */
const OFFERED = 0x7bffffff;
const OFFERED2 = 0x000007ff;

export const initBody = (minor: number, flags = OFFERED, flags2 = OFFERED2): Buffer => wire`
  07 00 00 00       major 7
  ${u32(minor)}     minor
  00 00 02 00       max_readahead 128 KiB
  ${u32(flags)}     flags
  ${u32(flags2)}    flags2
  ${u32(0)} ${u32(0)} ${u32(0)} ${u32(0)} ${u32(0)} ${u32(0)}  unused
  ${u32(0)} ${u32(0)} ${u32(0)} ${u32(0)} ${u32(0)}            unused`;

export class Engine {
  readonly top: string;
  readonly sys: Sys;
  readonly fds: FdCache;
  readonly ov: Overlay;
  readonly session: Served;
  readonly #descriptors: number;
  readonly #umask: number;
  isOpen = true;

  constructor(top: string, parts: EngineParts) {
    this.top = top;
    // The first instance of the addon opens descriptors that stay.
    this.sys = new Sys(parts.native ?? loadNative());
    this.#descriptors = openDescriptors();
    // As an engine thread does: modes come from the caller, with its umask applied.
    this.#umask = process.umask(0);
    this.fds = new FdCache(this.sys.native, parts.fds ?? 64);
    this.sys.reclaim = this.fds.shrink;
    this.ov = openOverlay(this.sys, specOf(top, parts), this.fds);
    const caller = new RequestCaller(this.ov);
    this.session = {
      ov: this.ov,
      caller,
      mount: 1,
      slot: -1,
      setxattrExt: false,
      minor: 0,
      parked: new Map(),
      interrupted: new Set(),
      uncapped: 0,
      looks: 0,
      lookedAt: 0,
      served: 0,
      begun: undefined,
      ahead: new ReadAhead(),
    };
    if (parts.noInit !== true) this.must(Op.INIT, 0, initBody(45));
  }

  static async open(parts: EngineParts): Promise<Engine> {
    return new Engine(await makeLayers(parts), parts);
  }

  /** Serves a request; undefined when it gets no reply. */
  send(bytes: Uint8Array): Reply | undefined {
    this.sys.u8.fill(0xee, IN, IN + bytes.length + 64);
    this.sys.u8.set(bytes, IN);
    this.sys.u8.fill(0xee, OUT, OUT + 4096);
    const length = dispatch(this.session);
    const reply = length === 0 ? undefined : Buffer.from(this.sys.u8.slice(OUT, OUT + length));
    // As the engine thread does between requests.
    if (this.ov.readFromStart !== 0) this.session.ahead.go(this.ov);
    this.fds.flush();
    return reply && new Reply(reply);
  }

  ask(opcode: number, node: number, body: Uint8Array = Buffer.alloc(0), uid = UID): Reply {
    const reply = this.send(request(opcode, node, body, uid));
    if (!reply) throw new Error(`opcode ${opcode} got no reply`);
    return reply;
  }

  /** As `ask`, of a request that must succeed. */
  must(opcode: number, node: number, body: Uint8Array = Buffer.alloc(0), uid = UID): Reply {
    const reply = this.ask(opcode, node, body, uid);
    if (reply.error !== 0) throw new Error(`opcode ${opcode} got ${reply.error}`);
    return reply;
  }

  lookup(parent: number, name: string): Reply {
    return this.ask(Op.LOOKUP, parent, wire`${cstr(name)}`);
  }

  /** The node of a path, looked up name by name; 0 when there is none. */
  node(path: string): number {
    let node = 1;
    for (const name of path.split('/')) {
      const reply = this.lookup(node, name);
      if (reply.error !== 0) throw new Error(`${path}: lookup got ${reply.error}`);
      node = reply.u32(0);
      if (node === 0) return 0;
    }
    return node;
  }

  /** What a reader of the path gets. */
  text(path: string): string {
    return this.must(Op.READ, this.node(path), readIn(0, 0x10000)).text();
  }

  forget(node: number, lookups: number | bigint = 1): void {
    const reply = this.send(request(Op.FORGET, node, wire`${u64(lookups)}  nlookup`));
    if (reply) throw new Error('FORGET got a reply');
  }

  /** Ends this mount and begins another over the same directories. */
  reopen(parts: EngineParts): Engine {
    this.end();
    return new Engine(this.top, parts);
  }

  /** Closes all and removes the layers. Throws when a descriptor stays open. */
  close(): void {
    try {
      this.end();
    } finally {
      rmSync(this.top, { recursive: true, force: true });
    }
  }

  /** Closes all. Throws when a descriptor stays open. */
  end(): void {
    this.isOpen = false;
    this.ov.close();
    process.umask(this.#umask);
    const left = openDescriptors() - this.#descriptors;
    if (left > 0) throw new Error(`${left} descriptors stayed open`);
  }
}
