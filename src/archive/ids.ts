/** Translates between IDs of the archive and IDs on disk. */
import { UserError } from '../base/errno.js';
import { ACCESS_ACL, DEFAULT_ACL } from '../layer/xattrs.js';
import { mapAcl } from './acl.js';
import { shown } from './limits.js';
import type { IdMap, IdRange } from './types.js';

/** Maps the owners of one direction; without ranges every ID stays. */
export class IdMapper {
  readonly #ids: IdMap | undefined;
  readonly #toDisk: boolean;

  constructor(ids: IdMap | undefined, toDisk: boolean) {
    this.#ids = ids;
    this.#toDisk = toDisk;
  }

  uid(id: number, name: string): number {
    return this.#ids ? this.#map(this.#ids.uids, id, 'user', name) : id;
  }

  gid(id: number, name: string): number {
    return this.#ids ? this.#map(this.#ids.gids, id, 'group', name) : id;
  }

  /** The value of an xattr: ACLs name IDs, too. */
  xattr(key: string, value: string, name: string): string {
    if (!this.#ids || (key !== ACCESS_ACL && key !== DEFAULT_ACL)) return value;
    return mapAcl(
      value,
      (id) => this.uid(id, name),
      (id) => this.gid(id, name),
    );
  }

  #map(ranges: readonly IdRange[], id: number, kind: string, name: string): number {
    for (const { inside, outside, count } of ranges) {
      const [from, to] = this.#toDisk ? [inside, outside] : [outside, inside];
      if (id >= from && id < from + count) return to + (id - from);
    }
    throw new UserError(
      `${shown(name)} belongs to ${kind} ${id}, which is in no range of the ID mapping`,
    );
  }
}
