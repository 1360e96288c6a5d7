/** Sets owner, mode, xattrs and times of one unpacked object, in an order in which none undoes another. */
import { E, errnoText, UserError } from '../base/errno.js';
import { encodeName } from '../layer/override.js';
import { ACCESS_ACL, CAPABILITY, toDisk, TRUSTED, USER } from '../layer/xattrs.js';
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from '../sys/constants.js';
import { type Sys, XATTR, XATTR_MAX } from '../sys/sys.js';
import { overflowIds } from '../sys/userns.js';
import { IdMapper } from './ids.js';
import { refused, shown } from './limits.js';
import type { OpenDir } from './tree.js';

import type { Entry, UnpackOptions } from './types.js';
import type { Warnings } from './warnings.js';

/** Where an object is. */
type Place = Pick<OpenDir, 'fd' | 'setgid'>;

/** What of an entry an object gets; a directory that is only implied has one, too. */
export type Described = Pick<
  Entry,
  'name' | 'type' | 'mode' | 'uid' | 'gid' | 'mtime' | 'mtimeNs' | 'xattrs'
>;

export class Attributes {
  readonly #sys: Sys;
  readonly #warnings: Warnings;
  readonly #ids: IdMapper;
  readonly #ignoreOwners: boolean;
  readonly #wants: (key: string) => boolean;
  /** The namespace of a layer's own marks; undefined: the tree is no layer. */
  readonly #prefix: string | undefined;
  readonly #uid = process.geteuid?.() ?? -1;
  readonly #gid = process.getegid?.() ?? -1;

  constructor(sys: Sys, options: UnpackOptions, warnings: Warnings) {
    this.#sys = sys;
    this.#warnings = warnings;
    this.#ids = new IdMapper(options.ids, true);
    this.#ignoreOwners = options.ignoreOwners === true;
    this.#wants = options.xattrs ?? (() => true);
    const prefix = options.userxattr === true ? USER : TRUSTED;
    this.#prefix = options.whiteouts === 'apply' ? undefined : prefix;
  }

  /**
   * Sets them on `name` of `dir`, by `fd` where the object is open (-1: it is not). `fresh`: it has just
   * been made by this process.
   */
  apply(dir: Place, name: string, entry: Described, fd: number, fresh: boolean): void {
    this.#own(dir, name, entry, fd, fresh);
    if (entry.xattrs.size > 0) this.#xattrs(dir, name, entry, fd, false);
    const { native } = this.#sys;
    // After the owner: chown takes setuid bits away.
    if (entry.type !== 'symlink') {
      const code =
        fd >= 0 ? native.fchmodat(fd, '', entry.mode) : native.fchmodat(dir.fd, name, entry.mode);
      if (code < 0) throw failed('set the mode of', entry, code);
    }
    // It has the last word on the mode, whose group bits are its mask (bsdtar writes the group's there).
    if (entry.xattrs.has(ACCESS_ACL)) this.#xattrs(dir, name, entry, fd, true);
    const { mtime, mtimeNs } = entry;
    const flags = AT_SYMLINK_NOFOLLOW;
    const code = native.utimensat(dir.fd, name, mtime, mtimeNs, mtime, mtimeNs, flags);
    if (code < 0) throw failed('set the time of', entry, code);
  }

  #own(dir: Place, name: string, entry: Described, fd: number, fresh: boolean): void {
    if (this.#ignoreOwners) return;
    const uid = this.#ids.uid(entry.uid, entry.name);
    const gid = this.#ids.gid(entry.gid, entry.name);
    // A new object is its maker's already, and of its group but where the directory says otherwise.
    if (fresh && uid === this.#uid && gid === this.#gid && !dir.setgid) return;
    const { native } = this.#sys;
    const code =
      fd >= 0
        ? native.fchownat(fd, '', uid, gid, AT_EMPTY_PATH)
        : native.fchownat(dir.fd, name, uid, gid, AT_SYMLINK_NOFOLLOW);
    if (code >= 0) return;
    const hint =
      code === -E.EINVAL && overflowIds() !== undefined
        ? '; this user namespace has no such ID, see /etc/subuid and /etc/subgid'
        : '';
    throw new UserError(
      `cannot give ${shown(entry.name)} to ${uid}:${gid}: ${errnoText(code)}${hint}`,
    );
  }

  /** The access ACL, or all others. */
  #xattrs(dir: Place, name: string, entry: Described, fd: number, acl: boolean): void {
    for (const [key, value] of entry.xattrs) {
      if ((key === ACCESS_ACL) !== acl || !this.#wants(key)) continue;
      const disk = this.#diskName(key, entry.name);
      if (disk === undefined) continue;
      const kept = this.#ids.xattr(key, value, entry.name);
      if (kept.length > XATTR_MAX) throw refused(entry.name, 'has an xattr of more than 64 KiB');
      const code = this.#setXattr(dir, name, fd, disk, kept);
      if (code < 0) this.#lacks(entry, disk, code);
    }
  }

  /** No archive can give a layer a mark of its own: redirects, opaque directories, owners in xattrs. */
  #diskName(key: string, name: string): string | undefined {
    if (key === '' || key.length > 255) throw refused(name, 'has an xattr whose name cannot be');
    if (this.#prefix === undefined) return key;
    if (typeof encodeName(undefined, key) !== 'string') {
      this.#warnings.add(
        `xattr ${shown(key)} belongs to union file systems and was left out`,
        name,
      );
      return undefined;
    }
    return toDisk(key, this.#prefix);
  }

  #setXattr(dir: Place, name: string, fd: number, key: string, value: string): number {
    const { native } = this.#sys;
    const size = this.#sys.put(value, XATTR);
    return fd >= 0
      ? native.setxattr(fd, '', key, XATTR, size, 0)
      : native.setxattr(dir.fd, name, key, XATTR, size, 0);
  }

  /** The object goes without the xattr, with a warning; throws where it must have it. */
  #lacks(entry: Described, key: string, code: number): void {
    if (this.#mayLack(entry, key, code)) {
      const why = errnoText(code);
      this.#warnings.add(`xattr ${shown(key)} could not be kept, ${why}`, entry.name);
      return;
    }
    throw failed(`set the xattr ${shown(key)} of`, entry, code);
  }

  /** This file system has none such, or this user may not set it; but no program loses its capabilities unnoticed. */
  #mayLack({ type }: Described, key: string, code: number): boolean {
    if (code === -E.EOPNOTSUPP) return true;
    if (code !== -E.EPERM && code !== -E.EACCES) return false;
    if (key.startsWith('user.')) return type !== 'file' && type !== 'dir';
    return key.startsWith('trusted.') || (key.startsWith('security.') && key !== CAPABILITY);
  }
}

export const failed = (what: string, { name }: { name: string }, code: number): UserError =>
  new UserError(`cannot ${what} ${shown(name)}: ${errnoText(code)}`);
