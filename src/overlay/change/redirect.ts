/** Writes the `redirect` xattr, which names the lower object of an object that has moved (ovl_set_redirect). */
import { E } from '../../base/errno.js';
import { isDir } from '../../base/mode.js';
import { noXattr, takesNoRedirect } from '../../layer/absence.js';
import { ROOT } from '../../protocol/flags.js';
import { XATTR } from '../../sys/sys.js';
import { F_INDEXED, F_UPPER } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';
import { lowerShows } from '../lookup/locate.js';

/** The kernel's default for its redirect_max: a longer one it would not have written. */
const REDIRECT_MAX = 256;

/**
 * Marks `node`, an upper object whose lower must still be found, before it leaves its name. Within
 * the same directory (`sameDir`) the bare name is enough. -EXDEV when the path is too
 * long, the object can have no such mark, or this mount would not follow it: the caller then copies. Another
 * -errno when writing it fails, or when the redirects on the way cannot be read: a wrong one would last.
 */
export function setRedirect(ov: Overlay, node: number, sameDir: boolean): number {
  // What is written here, the next mount with the same options must read.
  if (ov.spec.redirectDir === 'nofollow') return -E.EXDEV;
  const present = redirectOf(ov, node);
  if (typeof present === 'number') return present;
  const relative = sameDir && mayBeRelative(ov, node, present);
  if (present.startsWith('/') || (present !== '' && relative)) return 0;
  const value = relative ? ov.table.name(node) : lowerPath(ov, node);
  if (typeof value === 'number') return value;
  if (value === '' || value.length > REDIRECT_MAX) return -E.EXDEV;
  const [dir, name] = target(ov, node);
  if (dir < 0) return dir;
  const size = ov.sys.put(value, XATTR);
  const code = ov.sys.native.setxattr(dir, name, `${ov.markPrefix}redirect`, XATTR, size, 0);
  if (code >= 0) return 0;
  // ext4 says ENOSPC also of an object that has no room for one more xattr: then a file's data comes along.
  const full = code === -E.ENOSPC && !isDir(ov.table.mode(node));
  return takesNoRedirect(code) || full ? -E.EXDEV : code;
}

/**
 * Whether a bare name says where an object is that stays in its directory. Of a file with several
 * links another name may be in another directory (ovl_need_absolute_redirect).
 */
function mayBeRelative(ov: Overlay, node: number, present: string): boolean {
  const { table } = ov;
  if (isDir(table.mode(node))) return true;
  if (table.has(node, F_INDEXED) || table.aliases(node).length > 0) return false;
  if (present !== '') return true;
  // Where it is not below its own name, a whole path is never wrong.
  if (lowerShows(ov, table.parent(node), table.name(node)) !== true) return false;
  return ov.hit.stat.nlink === 1;
}

function target(ov: Overlay, node: number): [number, string] {
  if (isDir(ov.table.mode(node))) return [ov.upperDir(node), '.'];
  return [ov.realDir(node), ov.realName(node)];
}

/** The redirect of an upper object; "" for none, -errno. */
function redirectOf(ov: Overlay, node: number): string | number {
  if (!ov.table.has(node, F_UPPER)) return '';
  // All directories above a node are asked, which may be more than there are descriptors.
  const mark = ov.borrowing();
  const [dir, name] = target(ov, node);
  const value = dir < 0 ? dir : ov.sys.xattr(dir, name, `${ov.markPrefix}redirect`);
  ov.giveBack(mark);
  if (dir < 0) return dir;
  return typeof value === 'number' && noXattr(value) ? '' : value;
}

/**
 * The absolute path of a node in the lowers: names, each replaced by its redirect where it has one.
 * Of an indexed file any name serves: the first that leaves its place in the lowers sets a redirect
 * for all. "" when none is known, -errno.
 */
function lowerPath(ov: Overlay, node: number): string | number {
  if (!ov.table.has(node, F_INDEXED)) return pathTo(ov, node);
  const alias = ov.table.aliases(node).at(0);
  return alias === undefined ? '' : pathTo(ov, alias.parent, alias.name);
}

function pathTo(ov: Overlay, node: number, leaf = ''): string | number {
  const names = leaf === '' ? [] : [leaf];
  for (let current = node; current !== ROOT; current = ov.table.parent(current)) {
    const redirect = redirectOf(ov, current);
    if (typeof redirect === 'number') return redirect;
    names.unshift(redirect === '' ? ov.table.name(current) : redirect);
    if (redirect.startsWith('/')) return names.join('/');
  }
  return `/${names.join('/')}`;
}
