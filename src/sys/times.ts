/** Access and modification time of an object, set from a statx. */
import { STATX } from '../protocol/layout.js';
import type { Sys } from './sys.js';

/** Gives `dir`/`name` the times of the statx at `stat`. Returns 0 or -errno. */
export function setTimes(sys: Sys, stat: number, dir: number, name: string, flags: number): number {
  const { view } = sys;
  const [a, m] = [stat + STATX.atime, stat + STATX.mtime];
  return sys.native.utimensat(
    dir,
    name,
    Number(view.getBigInt64(a, true)),
    view.getUint32(a + 8, true),
    Number(view.getBigInt64(m, true)),
    view.getUint32(m + 8, true),
    flags,
  );
}
