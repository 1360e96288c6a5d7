/** Who uses an image or a layer. */
import { type Digest, hexOf } from '../state/ids.js';
import type { Kind, Use } from '../state/layout.js';
import type { Store } from '../state/store.js';
import type { ImageRecord } from './records.js';

/** Objects whose manifests name another in `uses`: `containers/KEY` … */
export function usersOf(store: Store, use: Use, kinds: readonly Kind[]): Use[] {
  const users: Use[] = [];
  for (const kind of kinds) {
    for (const key of store.list(kind)) {
      if (store.read(kind, key)?.uses?.includes(use)) users.push(`${kind}/${key}`);
    }
  }
  return users;
}

/** What runs or lies on images: what keeps them from being removed without force. */
export const HOLDERS: readonly Kind[] = ['containers', 'volumes'];

/** The images that have a blob in their manifest. */
export function imagesUsing(store: Store, blob: Digest): ImageRecord[] {
  return store
    .list('images')
    .map((key) => store.read('images', key) as ImageRecord)
    .filter(({ uses }) => uses?.includes(`blobs/${hexOf(blob)}`));
}
