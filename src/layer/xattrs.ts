/**
 * Separates a client's xattrs from ours.
 *
 * - Our names (`overlay.*` in the namespace of the mount's marks) are hidden from clients.
 * - A client's own name of that form is stored one level deeper, `overlay.overlay.*`, as
 *   ovl_xattr_escape_name does, so that overlays can nest.
 * - A mount that writes marks in the trusted namespace also reads some in the user namespace. There only the
 *   names of marks are ours, and only they and their escaped forms are stored deeper; any other
 *   `user.overlay.*` is an ordinary name.
 */
import { type Sys, XATTR_LIST, XATTR_MAX } from '../sys/sys.js';
import { noXattr } from './absence.js';

export const TRUSTED = 'trusted.overlay.';
export const USER = 'user.overlay.';

/**
 * On a 0:1 device: it is a client's whiteout (whiteout.ts). Not in the user namespace, which
 * devices have no xattrs of.
 */
export const NESTED_WHITEOUT = `${TRUSTED}overlay.whiteout`;

/** What kernel overlayfs writes or reads below its prefix (enum ovl_xattr, fs/overlayfs/util.c). */
const KNOWN = new Set([
  ...['opaque', 'redirect', 'origin', 'impure', 'nlink', 'upper', 'uuid', 'metacopy', 'protattr'],
  'whiteout',
]);

export const CAPABILITY = 'security.capability';
export const ACCESS_ACL = 'system.posix_acl_access';
export const DEFAULT_ACL = 'system.posix_acl_default';

const BOTH = [USER, TRUSTED];
const USER_ONLY = [USER];

/**
 * The namespaces that marks are read from: with `userxattr` (`prefix` is USER) that one, else both,
 * of which the trusted one has the last word. In others `overlay.*` are names like any.
 */
export const markSpaces = (prefix: string): readonly string[] =>
  prefix === USER ? USER_ONLY : BOTH;

const ESCAPE = 'overlay.';

/** All that begins with `space` is taken, by us or to be stored deeper; else only what is named as a mark is. */
const takesAll = (space: string, prefix: string): boolean => space === prefix;

/** `rest` is the name of a mark, at any depth. */
function isMark(rest: string): boolean {
  let at = 0;
  while (rest.startsWith(ESCAPE, at)) at += ESCAPE.length;
  return KNOWN.has(rest.slice(at));
}

/** The name on disk of a client's xattr, in a mount whose marks have `prefix`. */
export function toDisk(key: string, prefix: string): string {
  for (const space of markSpaces(prefix)) {
    if (!key.startsWith(space)) continue;
    const rest = key.slice(space.length);
    return takesAll(space, prefix) || isMark(rest) ? space + ESCAPE + rest : key;
  }
  return key;
}

/** The client's name of an xattr on disk; undefined when it is ours. */
export function toClient(key: string, prefix: string): string | undefined {
  for (const space of markSpaces(prefix)) {
    if (!key.startsWith(space)) continue;
    const rest = key.slice(space.length);
    if (!takesAll(space, prefix) && !isMark(rest)) return key;
    return rest.startsWith(ESCAPE) ? space + rest.slice(ESCAPE.length) : undefined;
  }
  return key;
}

/** Ours: not copied up (each is written anew where it belongs). The escaped form is a client's and is copied. */
export const isPrivate = (key: string, prefix: string): boolean =>
  toClient(key, prefix) === undefined;

/**
 * A copy-up that cannot carry these fails; of others EOPNOTSUPP is accepted
 * (ovl_must_copy_xattr). A client's whiteout would be another object without its mark.
 */
export const mustCopy = (key: string): boolean =>
  key === ACCESS_ACL ||
  key === DEFAULT_ACL ||
  key === NESTED_WHITEOUT ||
  key.startsWith('security.');

/**
 * The first name below `prefix` on directory `dirfd` that is neither a known mark nor a client's;
 * undefined for none, -errno.
 */
export function unknownMark(sys: Sys, dirfd: number, prefix: string): string | undefined | number {
  const bytes = sys.native.listxattr(dirfd, '.', XATTR_LIST, XATTR_MAX);
  if (bytes <= 0) return bytes === 0 || noXattr(bytes) ? undefined : bytes;
  const keys = sys.text(XATTR_LIST, bytes - 1).split('\0');
  return keys.find(
    (key) =>
      key.startsWith(prefix) && isPrivate(key, prefix) && !KNOWN.has(key.slice(prefix.length)),
  );
}
