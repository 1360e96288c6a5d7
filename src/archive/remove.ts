/** Removes everything beneath a directory, by descriptors and single names. It follows no link. */
import { E } from '../base/errno.js';
import { DT_DIR } from '../base/mode.js';
import { readEntries } from '../layer/directory.js';
import {
  AT_REMOVEDIR,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  RESOLVE_LAYER,
} from '../sys/constants.js';
import type { Sys } from '../sys/sys.js';

/** False keeps an object; of a directory that is kept what lies in it is asked for in turn. */
type Removes = (path: string) => boolean;

const ALL: Removes = () => true;

/** Removes `name` of `dirfd` with all that lies in it. Returns 0 or -errno; what is not there is no error. */
export function removeAt(sys: Sys, dirfd: number, name: string): number {
  const plain = sys.native.unlinkat(dirfd, name, 0);
  if (plain >= 0 || plain === -E.ENOENT) return 0;
  // EISDIR for a directory; EPERM where the file system follows POSIX there.
  if (plain !== -E.EISDIR && plain !== -E.EPERM) return plain;
  const code = removeBelow(sys, dirfd, name, '', ALL);
  return code < 0 ? code : Math.min(0, sys.native.unlinkat(dirfd, name, AT_REMOVEDIR));
}

/** Removes what lies in directory `name` and `removes` says; `path` is the directory's, for `removes`. */
export function removeBelow(
  sys: Sys,
  dirfd: number,
  name: string,
  path: string,
  removes: Removes,
): number {
  const fd = openWritable(sys, dirfd, name);
  if (fd < 0) return fd === -E.ENOENT ? 0 : fd;
  try {
    const entries: [name: string, type: number][] = [];
    const read = readEntries(sys, fd, (entry, type) => entries.push([entry, type]));
    if (read < 0) return read;
    for (const [entry, type] of entries) {
      const full = path === '' ? entry : `${path}/${entry}`;
      let code = 0;
      if (removes(full)) code = removeAt(sys, fd, entry);
      else if (type === DT_DIR) code = removeBelow(sys, fd, entry, full, removes);
      if (code < 0) return code;
    }
    return 0;
  } finally {
    sys.native.close(fd);
  }
}

/** A directory without permissions is in nobody's way who may change them. */
function openWritable(sys: Sys, dirfd: number, name: string): number {
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  const fd = sys.open(dirfd, name, flags, 0, RESOLVE_LAYER);
  if (fd !== -E.EACCES) return fd;
  const widened = sys.native.fchmodat(dirfd, name, 0o700);
  return widened < 0 ? fd : sys.open(dirfd, name, flags, 0, RESOLVE_LAYER);
}
