/** Sets access and modification time of an object from a statx. */
import type { Stat } from './stat.js';
import type { Sys } from './sys.js';

/** Gives `dir`/`name` the times in `stat`. Returns 0 or -errno. */
export function setTimes(sys: Sys, stat: Stat, dir: number, name: string, flags: number): number {
  const { atime, atimeNsec, mtime, mtimeNsec } = stat;
  return sys.native.utimensat(dir, name, atime, atimeNsec, mtime, mtimeNsec, flags);
}
