/**
 * Which xattrs a client sees and which are ours. Our names (`overlay.*` in the trusted and the user
 * namespace) are hidden; a client's own name of that form is stored one level deeper,
 * `overlay.overlay.*`, as ovl_xattr_escape_name does, so that overlays can nest.
 */
import { E } from '../base/errno.js';
import { type Sys, XATTR_LIST, XATTR_MAX } from '../sys/sys.js';

export const TRUSTED = 'trusted.overlay.';
export const USER = 'user.overlay.';

const NAMESPACES = [TRUSTED, USER] as const;
const ESCAPE = 'overlay.';

/** The name on disk of a client's xattr. */
export function toDisk(key: string): string {
  for (const prefix of NAMESPACES) {
    if (key.startsWith(prefix)) return prefix + ESCAPE + key.slice(prefix.length);
  }
  return key;
}

/** The client's name of an xattr on disk; undefined when it is ours. */
export function toClient(key: string): string | undefined {
  for (const prefix of NAMESPACES) {
    if (key.startsWith(prefix)) {
      const rest = key.slice(prefix.length);
      return rest.startsWith(ESCAPE) ? prefix + rest.slice(ESCAPE.length) : undefined;
    }
  }
  return key;
}

/** Ours: not copied up (each is written anew where it belongs). The escaped form is a client's and is copied. */
export const isPrivate = (key: string): boolean => toClient(key) === undefined;

/** A copy-up that cannot carry these fails; of others EOPNOTSUPP is accepted (ovl_must_copy_xattr). */
export function mustCopy(key: string): boolean {
  return (
    key === 'system.posix_acl_access' ||
    key === 'system.posix_acl_default' ||
    key.startsWith('security.')
  );
}

/** What kernel overlayfs writes or reads below its prefix (enum ovl_xattr, fs/overlayfs/util.c). */
const KNOWN = new Set([
  ...['opaque', 'redirect', 'origin', 'impure', 'nlink', 'upper', 'uuid', 'metacopy', 'protattr'],
  'whiteout',
]);

/** The first name below `prefix` on directory `dirfd` that is neither a known mark nor a client's. */
export function unknownMark(sys: Sys, dirfd: number, prefix: string): string | undefined {
  const bytes = sys.native.listxattr(dirfd, '.', XATTR_LIST, XATTR_MAX);
  if (bytes <= 0) return undefined;
  const keys = sys.text(XATTR_LIST, bytes - 1).split('\0');
  return keys.find(
    (key) => key.startsWith(prefix) && isPrivate(key) && !KNOWN.has(key.slice(prefix.length)),
  );
}

/** The xattr is absent, or this file system or namespace has none such. */
export const noXattr = (code: number): boolean =>
  code === -E.ENODATA || code === -E.EOPNOTSUPP || code === -E.EPERM;
