/** In which images a layer lies, and on what. */
import { digestOf, type Digest, findByPrefix, hexOf } from '../state/ids.js';
import { UserError } from '../../base/errno.js';
import type { ImageRecord } from '../images/records.js';
import type { Store } from '../state/store.js';

/** The images whose stack has the layer. */
export function imagesWith(store: Store, diffId: Digest): ImageRecord[] {
  return store
    .list('images')
    .map((key) => store.read('images', key) as ImageRecord)
    .filter(({ layers }) => layers.includes(diffId));
}

/** The trees of the layers below it, top first, in one of its images: what it was unpacked on. */
export function lowersOf(store: Store, diffId: Digest): string[] {
  const image = imagesWith(store, diffId).at(0);
  const below = image ? image.layers.slice(0, image.layers.indexOf(diffId)) : [];
  return below.map((each) => store.dataOf('layers', hexOf(each))).reverse();
}

/** The layer that `text`, an ID or the beginning of one, names. Throws UserError. */
export function mustFindLayer(store: Store, text: string): Digest {
  const key = findByPrefix(store.list('layers'), text, 'layer');
  if (key === undefined) throw new UserError(`No such layer: ${text}`);
  return digestOf(key);
}
