/** Modification times that the kernel keeps: a mount's changes of data leave those of the files. */
import type { Overlay } from '../overlay/overlay.js';

/** Of a connection that has the writeback cache. */
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
