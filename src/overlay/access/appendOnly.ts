/** WRITEs to files that chattr(1) made append-only. */
import { E } from '../../base/errno.js';
import { OUT } from '../../sys/memory.js';
import { APPEND, guardOf } from '../guard.js';
import type { Overlay } from '../overlay.js';
import type { Span } from './span.js';

/** No reply lies here yet: room for as much as a request can write. */
const REPLY_ROOM = OUT;

/**
 * How many bytes of a WRITE an append-only file has already. A page of the writeback cache that was
 * appended to comes whole, also with what was there. -EPERM when it would change that, 0 for any other
 * file. Neither the WRITE nor anything before it tells whether the writer's descriptor is older than the
 * flag, with which ext4 lets it change the file.
 */
export function appended(ov: Overlay, node: number, fd: number, span: Span): number {
  const guard = guardOf(ov, node);
  if (guard < 0 || (guard & APPEND) === 0) return Math.min(guard, 0);
  const { at, size, lo, hi } = span;
  const there = ov.sys.native.pread(fd, REPLY_ROOM, size, lo, hi);
  if (there <= 0) return there;
  const { u8 } = ov.sys;
  const same = Buffer.compare(
    u8.subarray(at, at + there),
    u8.subarray(REPLY_ROOM, REPLY_ROOM + there),
  );
  return same === 0 ? there : -E.EPERM;
}

/** -EPERM where an append-only file would be changed before its end. */
export function onlyAppends(ov: Overlay, node: number, fd: number, lo: number, hi: number): number {
  const guard = guardOf(ov, node);
  if (guard < 0 || (guard & APPEND) === 0) return Math.min(guard, 0);
  const there = ov.sys.native.pread(fd, REPLY_ROOM, 1, lo, hi);
  return there > 0 ? -E.EPERM : there;
}
