/** A blob that is lost or damaged, from the registry that an image came from. */
import { UserError } from '../../base/errno.js';
import { imagesUsing } from '../images/users.js';
import { namesOf } from '../images/find.js';
import { parseReference } from '../images/reference.js';
import { type Digest } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { fetchBlob } from './pull.js';

/**
 * Fetches a blob from one of the registries whose digests name an image that uses it; true when it is
 * there again. Reasons why it is not are appended to `reasons`.
 */
export async function refetchBlob(
  store: Store,
  lease: Lease,
  digest: Digest,
  reasons: string[],
): Promise<boolean> {
  const names = imagesUsing(store, digest).flatMap(({ id }) => namesOf(store, id).digests);
  for (const name of names) {
    try {
      if (await fetchBlob(store, lease, parseReference(name), digest)) return true;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      reasons.push(`${name}: ${error.message}`);
    }
  }
  return false;
}
