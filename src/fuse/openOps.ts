/**
 * OPEN, CREATE, TMPFILE and RELEASE. Only the passthrough plane serves them. The cached plane answers ENOSYS,
 * after which the kernel never asks again (docs/design.md, "Two data planes").
 */
import { E, PARKED } from '../base/errno.js';
import { S_IFREG } from '../base/mode.js';
import { create, createTmpfile } from '../overlay/change/create.js';
import type { Make } from '../overlay/change/newObject.js';
import { NO_BACKING, openFile, openNew } from '../overlay/access/passthrough.js';
import { Fopen, OPEN_KILL_SUIDGID } from '../protocol/flags.js';
import {
  CREATE_IN,
  ENTRY_OUT,
  IN_HEADER,
  OPEN_IN,
  OPEN_OUT,
  RELEASE_IN,
} from '../protocol/layout.js';
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY, RESOLVE_LAYER } from '../sys/constants.js';
import { IN } from '../sys/memory.js';
import { encodeEntry } from './encode.js';
import { nameAt, REPLY, type Served, word } from './served.js';

/** Threads whose ESTALE is remembered at most; one that is forgotten only gets a second one. */
const REFUSED_MAX = 1024;

/** File handles only say whether a backing file is held. */
const FH_PLAIN = 0;
const FH_BACKED = 1;

export function onOpen(s: Served, node: number): number {
  const { ov } = s;
  const { backings } = ov;
  if (!backings) return -E.ENOSYS;
  const flags = word(s, OPEN_IN.flags);
  const kill = (word(s, OPEN_IN.open_flags) & OPEN_KILL_SUIDGID) !== 0 ? s.caller : undefined;
  const { refused } = backings;
  const thread = s.ov.sys.u32[(IN + IN_HEADER.pid) >> 2];
  const again = refused.size > 0 && refused.get(thread) === node;
  if (refused.size > 0) refused.delete(thread);
  const id = openFile(ov, backings, node, { flags, kill, again });
  if (id >= 0) return opened(s, id, REPLY);
  if (id === PARKED && again) refused.set(thread, node);
  // Thread 0 is one that our process ID namespace does not know.
  if (id === -E.ESTALE && !again && thread !== 0) {
    if (refused.size >= REFUSED_MAX) refused.clear();
    refused.set(thread, node);
  }
  return id;
}

/** fuse_open_out at `at`; returns its size. */
function opened(s: Served, id: number, at: number): number {
  const { u32 } = s.ov.sys;
  const o = at >> 2;
  const backed = id !== NO_BACKING;
  u32[o] = backed ? FH_BACKED : FH_PLAIN;
  u32[o + 1] = 0;
  u32[o + OPEN_OUT.open_flags / 4] = backed ? Fopen.PASSTHROUGH : Fopen.DIRECT_IO;
  u32[o + OPEN_OUT.backing_id / 4] = id;
  return OPEN_OUT.size;
}

/** The reply to CREATE and TMPFILE: the entry of a new node, whose attributes are in `reply`, then the open file. */
function made(s: Served, node: number, id: number): number {
  // Nothing fails it: the file is there (`Overlay.changed`).
  const size = encodeEntry(s.ov, node, s.ov.sys.stats.reply, REPLY);
  s.ov.table.remember(node);
  return size + opened(s, id, REPLY + size);
}

export function onCreate(s: Served, parent: number): number {
  const { ov } = s;
  const { backings, sys } = ov;
  if (!backings) return -E.ENOSYS;
  const name = nameAt(s, CREATE_IN.size);
  const flags = word(s, CREATE_IN.flags);
  const mode = (word(s, CREATE_IN.mode) & 0o7777) | S_IFREG;
  const caller = s.caller.creator(word(s, CREATE_IN.umask));
  const make: Make = (dir, at, masked) => sys.native.mknodat(dir, at, masked, 0, 0);
  const node = create(ov, { parent, name, mode, caller, make }, sys.stats.reply);
  if (node < 0) return node;
  return made(s, node, openNew(ov, backings, node, flags));
}

/** O_TMPFILE. In the cached plane a RELEASE follows too, and means nothing. */
export function onTmpfile(s: Served, parent: number): number {
  const { ov } = s;
  const { native, u32 } = ov.sys;
  const { reply } = ov.sys.stats;
  const caller = s.caller.creator(word(s, CREATE_IN.umask));
  const make: Make = (dir, name, mode) => {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    const fd = native.openat2(dir, name, flags, mode & 0o7777, RESOLVE_LAYER);
    return fd < 0 ? fd : native.close(fd);
  };
  const mode = (word(s, CREATE_IN.mode) & 0o7777) | S_IFREG;
  const flags = word(s, CREATE_IN.flags);
  const node = createTmpfile(ov, { parent, name: '', mode, caller, make }, reply);
  if (node < 0) return node;
  if (ov.backings) return made(s, node, openNew(ov, ov.backings, node, flags));
  const size = encodeEntry(ov, node, reply, REPLY);
  ov.table.remember(node);
  u32.fill(0, (REPLY + size) >> 2, (REPLY + size + OPEN_OUT.size) >> 2);
  u32[(REPLY + size + OPEN_OUT.open_flags) >> 2] = Fopen.KEEP_CACHE;
  return ENTRY_OUT.size + OPEN_OUT.size;
}

/** The node is the one that was opened, also when it is retired by now. */
export function onRelease(s: Served, node: number): number {
  if (word(s, RELEASE_IN.fh) === FH_BACKED) s.ov.backings?.release(node);
  return 0;
}
