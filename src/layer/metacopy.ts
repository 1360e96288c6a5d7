/**
 * The `metacopy` xattr: this file has metadata only. Its value is empty, or a struct ovl_metacopy
 * (fs/overlayfs/overlayfs.h): u8 version, u8 length, u8 flags, u8 digest algorithm, the digest. The digest is
 * not checked, as in kernel overlayfs with its default `verity=off`.
 */
import { display } from '../base/bytes.js';
import { E } from '../base/errno.js';
import { log } from '../sys/log.js';
import { type Sys, XATTR } from '../sys/sys.js';
import { noUserXattr, noXattr } from './absence.js';
import { USER } from './xattrs.js';

const HEADER = 4;
/** HEADER + FS_VERITY_MAX_DIGEST_SIZE. */
const LONGEST = 68;

/**
 * 1 when the regular file `dirfd`/`name` is a metadata-only copy, 0 when not, -EIO (logged) when the value is
 * of a version, form or with flags that nobody knows (then its data is not where we would look),
 * another -errno when it cannot be read. Overwrites the XATTR buffer.
 */
export function readMetacopy(sys: Sys, dirfd: number, name: string, prefix: string): number {
  const size = sys.native.getxattr(dirfd, name, `${prefix}metacopy`, XATTR, LONGEST);
  if (size === 0) return 1;
  if (size === -E.ERANGE) return unknownForm(name);
  if (size < 0) return (prefix === USER ? noUserXattr : noXattr)(size) ? 0 : size;
  const { u8 } = sys;
  const known = size >= HEADER && u8[XATTR] === 0 && u8[XATTR + 1] === size && u8[XATTR + 2] === 0;
  return known ? 1 : unknownForm(name);
}

function unknownForm(name: string): number {
  log(`the metacopy mark of ${display(name)} is not of a known form`);
  return -E.EIO;
}
