/**
 * One record for each opcode that is served; to add an opcode, add a record. `dispatch` refuses a request
 * that is shorter than its record says, and `trace` prints the names that the record lists. Any other opcode
 * is answered with ENOSYS, after which the kernel does without it.
 */
import { E } from '../base/errno.js';
import { Op } from '../protocol/opcodes.js';
import {
  ACCESS_IN,
  BATCH_FORGET_IN,
  COMPAT_SETXATTR_IN_SIZE,
  COPY_FILE_RANGE_IN,
  CREATE_IN,
  FALLOCATE_IN,
  FLUSH_IN,
  FORGET_IN,
  FORGET_ONE,
  FSYNC_IN,
  GETATTR_IN,
  GETXATTR_IN,
  INTERRUPT_IN,
  IN_HEADER,
  IOCTL_IN,
  LEAST_INIT_IN_SIZE,
  LINK_IN,
  LSEEK_IN,
  MKDIR_IN,
  MKNOD_IN,
  OPEN_IN,
  POLL_IN,
  READ_IN,
  RELEASE_IN,
  RENAME2_IN,
  RENAME_IN,
  SETATTR_IN,
  SETXATTR_IN,
  STATX_IN,
  WRITE_IN,
} from '../protocol/layout.js';
import { onReaddir, onReaddirplus } from './dirOps.js';
import { onInit } from './init.js';
import * as names from './nameOps.js';
import * as nodes from './nodeOps.js';
import * as opens from './openOps.js';
import { onInterrupt } from './parked.js';
import { IN } from '../sys/memory.js';
import { BODY, type Served, word } from './served.js';

/** Serves a request: the length of the body it left at REPLY, or -errno. */
type Handler = (served: Served, node: number) => number;

// --- details for --debug -----------------------------------------------------------------------
function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Of READ, READDIR and WRITE, whose structs agree in this. */
function range(s: Served): string {
  const offset = s.ov.sys.u64(BODY + WRITE_IN.offset);
  return ` offset ${hex(offset)} size ${word(s, WRITE_IN.size_)}`;
}

function change(s: Served): string {
  return ` valid ${hex(word(s, SETATTR_IN.valid))} mode ${word(s, SETATTR_IN.mode).toString(8)}`;
}

/** What the node of a request's header means. */
export const Meaning = {
  /** The node, or what has taken its place when it is retired (overlay/access/passthrough.ts). */
  Current: 0,
  /** The very node, also when it is retired: what is said is about those who have it open. */
  Itself: 1,
  /** Nothing, or a node that need not exist. */
  Unchecked: 2,
} as const;
export type Meaning = (typeof Meaning)[keyof typeof Meaning];

export interface Opcode {
  readonly handler: Handler;
  /** Bytes of the struct that the body begins with. */
  readonly struct: number;
  /** Of SETXATTR, which has two: the bytes of the one that was agreed on. */
  readonly structOf: ((served: Served) => number) | undefined;
  /** Names after the struct, each ended by NUL. */
  readonly names: number;
  /** Bytes after these, as the struct tells. */
  readonly data: ((served: Served) => number) | undefined;
  readonly node: Meaning;
  readonly replies: boolean;
  /** What else of it is worth a word with --debug. */
  readonly detail: ((served: Served) => string) | undefined;
}

type Spec = Pick<Opcode, 'handler'> & Partial<Opcode>;

/** The kernel takes ENOSYS as "never ask again": opens, flushes, access checks (docs/design.md, "Two data planes"). */
const never: Handler = () => -E.ENOSYS;
const nothing: Handler = () => 0;

const { Itself, Unchecked } = Meaning;
const copyRange = { struct: COPY_FILE_RANGE_IN.size, node: Itself };
const forgets = { node: Unchecked, replies: false };

const table: Readonly<Partial<Record<keyof typeof Op, Spec>>> = {
  // The connection.
  INIT: { handler: onInit, struct: LEAST_INIT_IN_SIZE, node: Unchecked },
  DESTROY: { handler: nothing, node: Unchecked },
  INTERRUPT: { handler: onInterrupt, struct: INTERRUPT_IN.size, node: Unchecked, replies: false },
  STATFS: { handler: nodes.onStatfs },

  // Names.
  LOOKUP: { handler: names.onLookup, names: 1 },
  FORGET: { handler: nodes.onForget, struct: FORGET_IN.size, ...forgets },
  BATCH_FORGET: {
    handler: nodes.onBatchForget,
    struct: BATCH_FORGET_IN.size,
    data: (s) => word(s, BATCH_FORGET_IN.count) * FORGET_ONE.size,
    ...forgets,
  },
  MKNOD: { handler: names.onMknod, struct: MKNOD_IN.size, names: 1 },
  MKDIR: { handler: names.onMkdir, struct: MKDIR_IN.size, names: 1 },
  SYMLINK: { handler: names.onSymlink, names: 2 },
  LINK: { handler: names.onLink, struct: LINK_IN.size, names: 1 },
  UNLINK: { handler: names.onUnlink, names: 1 },
  RMDIR: { handler: names.onRmdir, names: 1 },
  RENAME: { handler: names.onRename, struct: RENAME_IN.size, names: 2 },
  RENAME2: { handler: names.onRename2, struct: RENAME2_IN.size, names: 2 },
  READDIR: { handler: onReaddir, struct: READ_IN.size, detail: range },
  READDIRPLUS: { handler: onReaddirplus, struct: READ_IN.size, detail: range },

  // Attributes.
  GETATTR: { handler: nodes.onGetattr, struct: GETATTR_IN.size },
  STATX: { handler: nodes.onStatx, struct: STATX_IN.size },
  SETATTR: { handler: nodes.onSetattr, struct: SETATTR_IN.size, detail: change },
  READLINK: { handler: nodes.onReadlink },
  IOCTL: {
    handler: nodes.onIoctl,
    struct: IOCTL_IN.size,
    data: (s) => word(s, IOCTL_IN.in_size),
  },
  SETXATTR: {
    handler: nodes.onSetxattr,
    struct: COMPAT_SETXATTR_IN_SIZE,
    structOf: (s) => (s.setxattrExt ? SETXATTR_IN.size : COMPAT_SETXATTR_IN_SIZE),
    names: 1,
    data: (s) => word(s, SETXATTR_IN.size_),
  },
  GETXATTR: { handler: nodes.onGetxattr, struct: GETXATTR_IN.size, names: 1 },
  LISTXATTR: { handler: nodes.onListxattr, struct: GETXATTR_IN.size },
  REMOVEXATTR: { handler: nodes.onRemovexattr, names: 1 },

  // Data.
  READ: { handler: nodes.onRead, struct: READ_IN.size, detail: range },
  WRITE: {
    handler: nodes.onWrite,
    struct: WRITE_IN.size,
    data: (s) => word(s, WRITE_IN.size_),
    detail: range,
  },
  FSYNC: { handler: nodes.onFsync, struct: FSYNC_IN.size },
  FSYNCDIR: { handler: nodes.onFsync, struct: FSYNC_IN.size },
  FALLOCATE: { handler: nodes.onFallocate, struct: FALLOCATE_IN.size },
  LSEEK: { handler: nodes.onLseek, struct: LSEEK_IN.size, node: Itself },
  COPY_FILE_RANGE: { handler: nodes.onCopyFileRange, ...copyRange },
  COPY_FILE_RANGE_64: { handler: nodes.onCopyFileRange64, ...copyRange },

  // Opens: of the passthrough plane alone, but for O_TMPFILE.
  OPEN: { handler: opens.onOpen, struct: OPEN_IN.size, node: Itself },
  CREATE: { handler: opens.onCreate, struct: CREATE_IN.size, names: 1 },
  TMPFILE: { handler: opens.onTmpfile, struct: CREATE_IN.size },
  RELEASE: { handler: opens.onRelease, struct: RELEASE_IN.size, node: Itself },
  RELEASEDIR: { handler: nothing, struct: RELEASE_IN.size },
  OPENDIR: { handler: never, struct: OPEN_IN.size },
  FLUSH: { handler: never, struct: FLUSH_IN.size },
  ACCESS: { handler: never, struct: ACCESS_IN.size },
  POLL: { handler: never, struct: POLL_IN.size },
};

const whole = (spec: Spec): Opcode => ({
  struct: 0,
  structOf: undefined,
  names: 0,
  data: undefined,
  node: Meaning.Current,
  replies: true,
  detail: undefined,
  ...spec,
});

/** By code; undefined: not answered here. */
export const opcodes: readonly (Opcode | undefined)[] = (() => {
  const byCode: (Opcode | undefined)[] = [];
  for (const [name, spec] of Object.entries(table)) {
    byCode[Op[name as keyof typeof Op]] = whole(spec);
  }
  return byCode;
})();

/** Where the first name of the request in IN lies, from the beginning of its body. */
export const namesAt = (s: Served, { struct, structOf }: Opcode): number =>
  structOf ? structOf(s) : struct;

/** Of total_extlen: what follows the body, such as the groups of a new object's maker. */
const EXTENSION_UNIT = 8;

/** False when the request in IN is shorter than its opcode says. */
export function isWhole(s: Served, opcode: Opcode): boolean {
  const { u8, u16, u32 } = s.ov.sys;
  const extensions = u16[(IN + IN_HEADER.total_extlen) >> 1] * EXTENSION_UNIT;
  const end = IN + u32[(IN + IN_HEADER.len) >> 2] - extensions;
  let at = BODY + namesAt(s, opcode);
  if (at > end) return false;
  for (let left = opcode.names; left > 0; left--) {
    // The last byte of nearly every request with a name is the NUL of that.
    const last = left === 1 && !opcode.data && at < end && u8[end - 1] === 0;
    const nul = last ? end - 1 : u8.indexOf(0, at);
    if (nul < 0 || nul >= end) return false;
    at = nul + 1;
  }
  return !opcode.data || at + opcode.data(s) <= end;
}
