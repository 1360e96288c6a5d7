/**
 * Requests that wait for the I/O pool to copy data (overlay/data/bulk.ts), for the kernel to write pages
 * (overlay/data/flushes.ts), or for a truncation or room (overlay/data/extent.ts). They are kept, served again,
 * or given up.
 */
import { E } from '../base/errno.js';
import type { Overlay } from '../overlay/overlay.js';
import { IN_HEADER, OUT_HEADER } from '../protocol/layout.js';
import { IN, OUT } from '../sys/memory.js';
import { SMALL } from '../sys/sys.js';
import { isKilled } from './caller.js';
import { BODY, type Parked, type Served } from './served.js';

const TMPFS = 0x0102_1994;
/** Between two looks at whether a caller is being killed. */
const LOOK_MS = 100;

/** Connects a mount's copies and syncs with the pool of its thread. */
export function connectPool(ov: Overlay, slot: number): void {
  const { native, u32 } = ov.sys;
  const root = ov.upper?.root ?? -1;
  // Syncing is nothing there; handing it over would be all of the work.
  const inMemory = root >= 0 && native.fstatfs(root, SMALL) >= 0 && u32[SMALL >> 2] === TMPFS;
  if (ov.work) ov.work.slot = slot;
  ov.truncations.port = (node, fd, lo, hi, keepTime) =>
    native.poolTruncate(slot, node, fd, lo, hi, keepTime);
  if (ov.upper) ov.room.port = () => native.poolRoom(slot);
  ov.bulk.pool = {
    allocate: (node, fd, mode, [lo, hi], [sizeLo, sizeHi]) =>
      native.poolAllocate(slot, node, fd, mode, lo, hi, sizeLo, sizeHi) >= 0,
    statfs: (fd) => native.poolStatfs(slot, fd) >= 0,
    copy: (fdIn, fdOut, [lo, hi], sync, keepSize) =>
      native.poolCopy(slot, fdIn, fdOut, lo, hi, sync, keepSize),
    cancel: (job) => {
      native.poolCancel(job);
    },
    sync: (fd, dataOnly) => !inMemory && native.poolSync(slot, fd, dataOnly) >= 0,
    range: ({ fdIn, inOff: [inLo, inHi], node, fdOut, outOff: [outLo, outHi], size }) =>
      native.poolRange(slot, fdIn, inLo, inHi, node, fdOut, outLo, outHi, size) >= 0,
  };
}

/** The number of the request whose u64 is at `at`. */
const unique = (s: Served, at: number): number => s.ov.sys.u64(at);

/** Keeps the request in IN until the copy it has stopped for ends. `serve` is what it is served with. */
export function park(s: Served, opcode: number, serve: (s: Served) => number): void {
  const { ov, slot } = s;
  const { native, u8, u32 } = ov.sys;
  const request = u8.slice(IN, IN + u32[(IN + IN_HEADER.len) >> 2]);
  const key = unique(s, IN + IN_HEADER.unique);
  const begun = s.begun ?? native.park();
  const resume = (): void => {
    s.parked.delete(key);
    u8.set(request, IN);
    s.begun = begun;
    const length = serve(s);
    s.begun = undefined;
    if (!s.parked.has(key)) s.interrupted.delete(key);
    if (length === 0) return;
    native.send(slot, OUT, length);
    native.resumed(slot, opcode, begun);
  };
  const leave = ov.truncations.park(resume)
    ? undefined
    : (ov.room.park(resume) ?? ov.flushes.park(resume) ?? ov.bulk.park(resume));
  const pid = u32[(IN + IN_HEADER.pid) >> 2];
  s.parked.set(key, { opcode, begun, pid, leave });
}

/**
 * INTERRUPT: whoever was killed need not wait. Other signals do not end it: neither do they end a
 * change of a local file, and programs do not expect EINTR of one (ovl_copy_up_file looks for fatal
 * signals, too). But the kernel sends only one INTERRUPT for a request, so from then on it is looked
 * whether the caller is killed later.
 */
export function onInterrupt(s: Served): number {
  const key = unique(s, BODY);
  if (!s.parked.has(key)) return 0;
  s.interrupted.add(key);
  releaseKilled(s);
  return 0;
}

/** Answers the requests whose callers were interrupted and are being killed by now. */
export function releaseKilled(s: Served): void {
  if (s.interrupted.size === 0) return;
  for (const key of s.interrupted) {
    const parked = s.parked.get(key);
    const leave = parked?.leave;
    if (parked && (!leave || !isKilled(s.ov.sys, parked.pid))) continue;
    s.interrupted.delete(key);
    if (!parked || !leave) continue;
    leave();
    release(s, key, parked);
  }
  // EMFILE, ENOMEM: no timer to be had; who is killed later then waits for the copy, as without it.
  if (s.interrupted.size > 0) s.ov.sys.native.wakeAfter(LOOK_MS);
}

function release(s: Served, key: number, parked: Parked): void {
  s.parked.delete(key);
  const { native, u32 } = s.ov.sys;
  const o = OUT >> 2;
  u32[o] = OUT_HEADER.size;
  u32[o + 1] = -E.EINTR;
  u32[o + 2] = key >>> 0;
  u32[o + 3] = Math.floor(key / 0x1_0000_0000);
  native.send(s.slot, OUT, OUT_HEADER.size);
  native.resumed(s.slot, parked.opcode, parked.begun);
}
