/**
 * Connects the engine with what the kernel caches of a mount's files: modification times, and data that the
 * files do not have yet.
 */
import { words } from '../overlay/data/flushes.js';
import type { Overlay } from '../overlay/overlay.js';

/** Of a connection with the writeback cache: changes of data leave the times of the files. */
export function connectTimes(ov: Overlay, slot: number): void {
  const { native } = ov.sys;
  native.keepTimes(slot);
  ov.times = {
    hold: (node, fd) => {
      native.holdTime(slot, node, fd);
    },
    put: (fd) => {
      native.putHeldTime(fd);
    },
    set: (node, seconds, nanoseconds) => {
      native.timeSet(slot, node, seconds, nanoseconds);
    },
  };
}

/** Of a connection of the cached plane to a mount that can change: a mapping is enough for a page to be dirty. */
export function connectFlushes(ov: Overlay, slot: number): void {
  const { native } = ov.sys;
  ov.flushes.flush = (node, offset, size) =>
    native.poolFlush(slot, node, ...words(offset), ...words(size));
}
