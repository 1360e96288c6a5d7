/**
 * Runs the handler of a request, and is the only place that writes replies. A handler (opcodes.ts) returns the
 * length of the body it left at REPLY, or -errno. Each request that wants a reply gets exactly one.
 */
import { E, errnoName, LATER, PARKED } from '../base/errno.js';
import { opcodeName } from '../protocol/opcodes.js';
import { IN_HEADER, OUT_HEADER } from '../protocol/layout.js';
import { log, writeLine } from '../sys/log.js';
import { IN, OUT } from '../sys/memory.js';
import { isWhole, Meaning, type Opcode, opcodes } from './opcodes.js';
import { park } from './parked.js';
import type { Served } from './served.js';
import { trace } from './trace.js';

/** Serves the request in IN; returns the length of the reply left in OUT, 0 for none (now, or at all). */
export function dispatch(s: Served): number {
  const { u32 } = s.ov.sys;
  const code = u32[(IN + IN_HEADER.opcode) >> 2];
  const node = u32[(IN + IN_HEADER.nodeid) >> 2];
  const unique = (IN + IN_HEADER.unique) >> 2;
  const [uniqueLo, uniqueHi] = [u32[unique], u32[unique + 1]];
  const opcode = opcodes[code];
  const described = s.ov.spec.debug ? `${opcodeName(code)} node ${node}` : '';
  let result = opcode ? admit(s, opcode, node) : -E.ENOSYS;
  const more = described !== '' && opcode && result >= 0 ? trace(s, opcode) : '';
  if (opcode && result >= 0) result = run(s, opcode, code, node);
  if (isFull(result) && s.ov.room.wait(s.ov.sys.native)) result = PARKED;
  if (described !== '') writeLine(`stratafs: ${described}${more} -> ${outcome(result)}`);
  if (opcode?.replies === false || result === LATER) return 0;
  if (result === PARKED) {
    park(s, code, dispatch);
    return 0;
  }
  const length = OUT_HEADER.size + Math.max(result, 0);
  const o = OUT >> 2;
  u32[o] = length;
  u32[o + 1] = Math.min(result, 0);
  u32[o + 2] = uniqueLo;
  u32[o + 3] = uniqueHi;
  return length;
}

const isFull = (result: number): boolean => result === -E.ENOSPC || result === -E.EDQUOT;

function outcome(code: number): string | number {
  if (code === PARKED) return 'waits';
  if (code === LATER) return 'in the pool';
  return code < 0 ? errnoName(code) : code;
}

/** 0 when the request is whole and its node exists; -EINVAL, -ESTALE. */
function admit(s: Served, opcode: Opcode, node: number): number {
  if (!isWhole(s, opcode)) return -E.EINVAL;
  return opcode.node === Meaning.Unchecked || s.ov.table.exists(node) ? 0 : -E.ESTALE;
}

function run(s: Served, opcode: Opcode, code: number, node: number): number {
  const { retired, table } = s.ov;
  s.ov.changed = false;
  try {
    const moved = retired !== 0 && opcode.node === Meaning.Current;
    return opcode.handler(s, moved ? table.current(node) : node);
  } catch (error) {
    // A bug must not end the mount, nor leave the caller waiting.
    log(`${opcodeName(code)} failed: ${error instanceof Error ? error.stack : String(error)}`);
    return -E.EIO;
  }
}
