/**
 * From opcode to engine, and the only place that writes replies. A handler returns the length of
 * the body it left at REPLY, or -errno; exactly one reply leaves for each request that wants one.
 */
import { E, errnoName, LATER, PARKED } from '../base/errno.js';
import { Op, OPCODES, opcodeName } from '../protocol/opcodes.js';
import { INIT_OUT, IN_HEADER, OUT_HEADER } from '../protocol/layout.js';
import { log, writeLine } from '../sys/log.js';
import { IN, OUT } from '../sys/memory.js';
import { onReaddir, onReaddirplus } from './dirOps.js';
import { negotiate } from './init.js';
import * as names from './nameOps.js';
import * as nodes from './nodeOps.js';
import * as opens from './openOps.js';
import { onInterrupt, park } from './parked.js';
import { BODY, REPLY, type Served } from './served.js';
import { connectFlushes, connectTimes } from './writebackPort.js';
import { trace } from './trace.js';

type Handler = (served: Served, node: number) => number;

/** The kernel takes ENOSYS as "never ask again": opens, flushes, access checks (zero-message opens, DESIGN.md decision 1). */
const never: Handler = () => -E.ENOSYS;
const nothing: Handler = () => 0;

const handlers: (Handler | undefined)[] = new Array<Handler | undefined>(OPCODES).fill(undefined);
/** Opcodes that get no reply. */
const silent = new Uint8Array(OPCODES);

const table: readonly (readonly [number, Handler])[] = [
  [Op.LOOKUP, names.onLookup],
  [Op.FORGET, nodes.onForget],
  [Op.BATCH_FORGET, nodes.onBatchForget],
  [Op.GETATTR, nodes.onGetattr],
  [Op.STATX, nodes.onStatx],
  [Op.SETATTR, nodes.onSetattr],
  [Op.READLINK, nodes.onReadlink],
  [Op.SYMLINK, names.onSymlink],
  [Op.MKNOD, names.onMknod],
  [Op.MKDIR, names.onMkdir],
  [Op.UNLINK, names.onUnlink],
  [Op.RMDIR, names.onRmdir],
  [Op.RENAME, names.onRename],
  [Op.RENAME2, names.onRename2],
  [Op.LINK, names.onLink],
  [Op.TMPFILE, opens.onTmpfile],
  [Op.READ, nodes.onRead],
  [Op.WRITE, nodes.onWrite],
  [Op.STATFS, nodes.onStatfs],
  [Op.FSYNC, nodes.onFsync],
  [Op.FSYNCDIR, nodes.onFsync],
  [Op.SETXATTR, nodes.onSetxattr],
  [Op.GETXATTR, nodes.onGetxattr],
  [Op.LISTXATTR, nodes.onListxattr],
  [Op.REMOVEXATTR, nodes.onRemovexattr],
  [Op.READDIR, onReaddir],
  [Op.READDIRPLUS, onReaddirplus],
  [Op.FALLOCATE, nodes.onFallocate],
  [Op.LSEEK, nodes.onLseek],
  [Op.COPY_FILE_RANGE, nodes.onCopyFileRange],
  [Op.COPY_FILE_RANGE_64, nodes.onCopyFileRange64],
  [Op.IOCTL, nodes.onIoctl],
  [Op.INIT, onInit],
  [Op.OPEN, opens.onOpen],
  [Op.OPENDIR, never],
  [Op.CREATE, opens.onCreate],
  [Op.FLUSH, never],
  [Op.ACCESS, never],
  [Op.POLL, never],
  [Op.RELEASE, opens.onRelease],
  [Op.RELEASEDIR, nothing],
  [Op.DESTROY, nothing],
  [Op.INTERRUPT, onInterrupt],
];
for (const [code, handler] of table) handlers[code] = handler;
for (const code of [Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT]) silent[code] = 1;
/** Opcodes that mean the very node they name, also when it is retired (overlay/access/passthrough.ts). */
const literal = new Uint8Array(OPCODES);
for (const code of [Op.OPEN, Op.RELEASE, Op.FORGET, Op.LSEEK, Op.COPY_FILE_RANGE])
  literal[code] = 1;
literal[Op.COPY_FILE_RANGE_64] = 1;

function onInit(s: Served): number {
  const agreed = negotiate(s.ov, BODY, REPLY);
  if (typeof agreed === 'number') {
    s.failure =
      agreed === -E.EOPNOTSUPP
        ? 'this kernel has no FUSE passthrough (Linux 6.9, CONFIG_FUSE_PASSTHROUGH): leave data=passthrough out'
        : 'the FUSE protocol of this kernel is too old: Linux 5.4 or later is needed';
    return agreed;
  }
  s.minor = agreed.minor;
  s.setxattrExt = agreed.setxattrExt;
  if (agreed.writeback) connectTimes(s.ov, s.slot);
  if (s.ov.upper && !s.ov.passthrough) connectFlushes(s.ov, s.slot);
  return INIT_OUT.size;
}

/** Serves the request in IN; returns the length of the reply left in OUT, 0 for none (now, or at all). */
export function dispatch(s: Served): number {
  const { u32 } = s.ov.sys;
  const opcode = u32[(IN + IN_HEADER.opcode) >> 2];
  const node = u32[(IN + IN_HEADER.nodeid) >> 2];
  const unique = (IN + IN_HEADER.unique) >> 2;
  const [uniqueLo, uniqueHi] = [u32[unique], u32[unique + 1]];
  const described = s.ov.spec.debug ? trace(s, opcode, node) : '';
  const code = run(s, opcode, node);
  if (described !== '') writeLine(`stratafs: ${described} -> ${outcome(code)}`);
  if (silent[opcode] === 1 || code === LATER) return 0;
  if (code === PARKED) {
    park(s, opcode, dispatch);
    return 0;
  }
  const length = OUT_HEADER.size + Math.max(code, 0);
  const o = OUT >> 2;
  u32[o] = length;
  u32[o + 1] = Math.min(code, 0);
  u32[o + 2] = uniqueLo;
  u32[o + 3] = uniqueHi;
  return length;
}

function outcome(code: number): string | number {
  if (code === PARKED) return 'waits';
  if (code === LATER) return 'in the pool';
  return code < 0 ? errnoName(code) : code;
}

function run(s: Served, opcode: number, node: number): number {
  const handler = handlers[opcode];
  if (!handler) return -E.ENOSYS;
  if (node !== 0 && !s.ov.table.exists(node) && opcode !== Op.FORGET) return -E.ESTALE;
  const { ov } = s;
  const plain = ov.retired === 0 || node === 0 || literal[opcode] === 1;
  try {
    return handler(s, plain ? node : ov.table.current(node));
  } catch (error) {
    // A bug must not end the mount, nor leave the caller waiting.
    log(`${opcodeName(opcode)} failed: ${error instanceof Error ? error.stack : String(error)}`);
    return -E.EIO;
  }
}
