/** In which images a layer lies, and on what. */
import { digestOf, type Digest, findByPrefix, hexOf } from '../state/ids.js';
import { UserError } from '../../base/errno.js';
import type { ImageRecord } from '../images/records.js';
import type { Store } from '../state/store.js';
import type { LayerRecord } from './records.js';

/** The images whose stack has the layer. */
export function imagesWith(store: Store, diffId: Digest): ImageRecord[] {
  return store
    .list('images')
    .map((key) => store.read('images', key) as ImageRecord)
    .filter(({ layers }) => layers.includes(diffId));
}

/** The diff ids that a layer was unpacked on, bottom first; those of one of its images where they are gone. */
export function below(store: Store, diffId: Digest): readonly Digest[] {
  const record = store.read('layers', hexOf(diffId)) as LayerRecord | undefined;
  if (record?.on.every((each) => store.has('layers', hexOf(each)))) return record.on;
  return belowInImage(store, diffId);
}

/** The diff ids below a layer in one of its images, bottom first. */
export function belowInImage(store: Store, diffId: Digest): readonly Digest[] {
  const image = imagesWith(store, diffId).at(0);
  return image ? image.layers.slice(0, image.layers.indexOf(diffId)) : [];
}

/**
 * Trees of layers, top first, as a mount and `unpackLayer` take them; `diffIds` bottom first. One that occurs
 * twice (steps that change nothing are the same layer) is given once, where it is topmost: what it shows
 * further down, it hides itself.
 */
export const treesOf = (store: Store, diffIds: readonly Digest[]): string[] => [
  ...new Set(diffIds.map((each) => store.dataOf('layers', hexOf(each))).reverse()),
];

/** The layer that `text`, an ID or the beginning of one, names. Throws UserError. */
export function mustFindLayer(store: Store, text: string): Digest {
  const key = findByPrefix(store.list('layers'), text, 'layer');
  if (key === undefined) throw new UserError(`No such layer: ${text}`);
  return digestOf(key);
}
