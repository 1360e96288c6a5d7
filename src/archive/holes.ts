/** Finds where a file has data. */
import { E } from '../base/errno.js';
import { SMALL, type Sys } from '../sys/sys.js';
import type { Extent } from './types.js';

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** The ranges with data of an open file of `size` bytes, or -errno; undefined: no holes are told. */
export function extentsIn(sys: Sys, fd: number, size: number): Extent[] | undefined | number {
  const extents: Extent[] = [];
  for (let at = 0; at < size; ) {
    const data = seek(sys, fd, at, SEEK_DATA);
    // ENXIO: nothing but a hole from here to the end.
    if (data === -E.ENXIO) break;
    // EINVAL: this file system does not tell.
    if (data === -E.EINVAL) return undefined;
    if (data < 0) return data;
    if (data >= size) break;
    const hole = seek(sys, fd, data, SEEK_HOLE);
    if (hole < 0) return hole;
    const end = Math.min(hole, size);
    extents.push({ offset: data, length: end - data });
    at = end;
  }
  const [first] = extents;
  return extents.length === 1 && first.offset === 0 && first.length === size ? undefined : extents;
}

function seek(sys: Sys, fd: number, at: number, whence: number): number {
  const hi = Math.floor(at / 0x1_0000_0000);
  const code = sys.native.lseek(fd, at >>> 0, hi, whence, SMALL);
  return code < 0 ? code : sys.u64(SMALL);
}
