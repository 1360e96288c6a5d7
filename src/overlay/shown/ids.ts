/**
 * Translates user and group IDs between the disk and a client: `uidmapping`, `gidmapping` and the
 * `squash_to_*` options. An ID without a counterpart becomes NO_ID, and never another ID. The kernel shows
 * such an owner as its overflow ID and refuses to change the object (EOVERFLOW of notify_change,
 * HAS_UNMAPPED_ID), as on an idmapped mount.
 */
import { E } from '../../base/errno.js';
import { ACCESS_ACL, CAPABILITY, DEFAULT_ACL } from '../../layer/xattrs.js';
import type { Sys } from '../../sys/sys.js';

/** `(uid_t)-1`: no ID at all; chown(2) takes it for "leave that one alone", so it must not get there by mistake. */
export const NO_ID = 0xffff_ffff;

/** What the kernel shows for an ID that does not map (overflowuid(5)); an ordinary ID otherwise, "nobody". */
export const OVERFLOW_ID = 65534;

/** `count` IDs from `disk` on are shown as those from `client` on. */
export interface IdRange {
  readonly disk: number;
  readonly client: number;
  readonly count: number;
}

/** Both kinds; no ranges: shown as they are. */
export interface IdSpec {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
  /** Every object is shown with this owner; on disk a new one gets its maker's. */
  readonly squashUid: number | undefined;
  readonly squashGid: number | undefined;
}

function shift(
  id: number,
  ranges: readonly IdRange[],
  from: 'disk' | 'client',
  to: 'disk' | 'client',
): number {
  if (ranges.length === 0 || id === NO_ID) return id;
  for (const range of ranges) {
    const offset = id - range[from];
    if (offset >= 0 && offset < range.count) return range[to] + offset;
  }
  // What a maker without an ID has made belongs to it, and must be seen to until it is given away.
  return id === OVERFLOW_ID ? OVERFLOW_ID : NO_ID;
}

/** xattrs whose values hold IDs. */
const ACLS = [ACCESS_ACL, DEFAULT_ACL];

/** struct posix_acl_xattr_entry: u16 tag, u16 permissions, u32 id, after a header of 4 bytes. */
const ACL_HEADER = 4;
const ACL_ENTRY = 8;
const ACL_USER = 0x02;
const ACL_GROUP = 0x08;

/** struct vfs_ns_cap_data: revision 3 in the top byte, the root's user ID at the end. */
const CAPABILITY_SIZE = 24;
const CAPABILITY_ROOT = 20;
const CAPABILITY_REVISION = 3;

export class IdMap {
  readonly #spec: IdSpec;

  constructor(spec: IdSpec) {
    this.#spec = spec;
  }

  shownUid(disk: number): number {
    const { squashUid, uids } = this.#spec;
    return squashUid ?? shift(disk, uids, 'disk', 'client');
  }

  shownGid(disk: number): number {
    const { squashGid, gids } = this.#spec;
    return squashGid ?? shift(disk, gids, 'disk', 'client');
  }

  diskUid(client: number): number {
    return shift(client, this.#spec.uids, 'client', 'disk');
  }

  diskGid(client: number): number {
    return shift(client, this.#spec.gids, 'client', 'disk');
  }

  /** Translates the IDs inside an xattr's value for a client; -EOVERFLOW for one that does not map. */
  shownXattr(sys: Sys, key: string, at: number, size: number): number {
    const { uids, gids } = this.#spec;
    const uid = (id: number): number => shift(id, uids, 'disk', 'client');
    const gid = (id: number): number => shift(id, gids, 'disk', 'client');
    return translate(sys, key, at, size, { uid, gid }) ? 0 : -E.EOVERFLOW;
  }

  /** The reverse; -EINVAL for an ID that does not map, as the kernel's posix_acl_valid. */
  diskXattr(sys: Sys, key: string, at: number, size: number): number {
    const uid = (id: number): number => this.diskUid(id);
    const gid = (id: number): number => this.diskGid(id);
    return translate(sys, key, at, size, { uid, gid }) ? 0 : -E.EINVAL;
  }
}

type Translation = (id: number) => number;

function translate(
  sys: Sys,
  key: string,
  at: number,
  size: number,
  { uid, gid }: { readonly uid: Translation; readonly gid: Translation },
): boolean {
  const { view } = sys;
  const replace = (offset: number, to: Translation): boolean => {
    const id = to(view.getUint32(offset, true));
    if (id !== NO_ID) view.setUint32(offset, id, true);
    return id !== NO_ID;
  };
  if (key === CAPABILITY) {
    const rooted = size === CAPABILITY_SIZE && view.getUint8(at + 3) === CAPABILITY_REVISION;
    return !rooted || replace(at + CAPABILITY_ROOT, uid);
  }
  if (!ACLS.includes(key)) return true;
  for (let entry = at + ACL_HEADER; entry + ACL_ENTRY <= at + size; entry += ACL_ENTRY) {
    const tag = view.getUint16(entry, true);
    if (tag === ACL_USER && !replace(entry + 4, uid)) return false;
    if (tag === ACL_GROUP && !replace(entry + 4, gid)) return false;
  }
  return true;
}
