/**
 * The store's directories. Whether an object exists is decided by its manifest alone,
 * `state/KIND/KEY.json`; its data, where it has any, lie in `KIND/KEY/`.
 *
 *     version                       the format of all the rest
 *     lock                          flock(2): changes that touch more than one object
 *     state/images/HEX.json         one per image
 *     state/layers/HEX.json         one per layer, by diff id; layers/HEX/ is its tree
 *     state/repositories/…json      the tags and digests of one repository
 *     state/containers/HEX.json     containers/HEX/ holds upper, work, logs …
 *     state/volumes/NAME.json       volumes/NAME/_data
 *     content/                      an OCI image layout: blobs by digest, index.json
 *     leases/ID/                    commands under way (lease.ts)
 *     trash/                        what has been removed and is being deleted
 *     locks/                        locks of single objects
 */
import { UserError } from '../../base/errno.js';

/** Every kind of object with a manifest. A new kind is one line here and one in gc's README. */
export const KINDS = [
  'images',
  'layers',
  'repositories',
  'containers',
  'volumes',
  'builds',
  'networks',
] as const;
export type Kind = (typeof KINDS)[number];

/** Those with a data directory, with its mode: 0711 where a container's root must get through. */
export const DATA_KINDS: Readonly<Partial<Record<Kind, number>>> = {
  layers: 0o700,
  containers: 0o711,
  volumes: 0o711,
  builds: 0o700,
};

/** Other directories of the root. */
export const OTHER_DIRECTORIES = ['content/blobs/sha256', 'leases', 'trash', 'locks'] as const;

/** Names longer than this do not fit a directory entry with `.json`. */
const MAX_KEY = 240;
const KEY = /^[A-Za-z0-9][A-Za-z0-9_.+@:-]*$/;

/** Throws unless `key` is one plain name: keys come from users and from foreign manifests. */
export function checkKey(kind: Kind, key: string): void {
  if (!KEY.test(key) || key.length > MAX_KEY) {
    throw new UserError(
      `'${key.slice(0, 60)}' is not a name for one of ${kind}: letters, digits and _.-, beginning with a letter or digit`,
    );
  }
}

/** `KIND/KEY`, as `uses` names an object; blobs are `blobs/HEX`. */
export type Use = `${Kind}/${string}` | `blobs/${string}`;
