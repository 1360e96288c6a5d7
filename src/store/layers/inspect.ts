/** What `layer inspect` says. */
import { hexOf } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { readLayer } from './add.js';
import { chainIds } from './chain.js';
import { imagesWith, mustFindLayer } from './stack.js';

/** The document for one layer. Throws UserError when there is none. */
export function inspectLayer(store: Store, text: string): object {
  const diffId = mustFindLayer(store, text);
  const record = readLayer(store, diffId)!;
  const images = imagesWith(store, diffId);
  const chains = images.map(({ layers }) => chainIds(layers)[layers.indexOf(diffId)]);
  return {
    Id: diffId,
    ChainIds: [...new Set(chains)],
    Images: images.map(({ id }) => id),
    Path: Buffer.from(store.dataOf('layers', hexOf(diffId)), 'latin1').toString('utf8'),
    Size: record.size,
    TarSize: record.tarSize,
    Entries: record.entries,
    Blob: { Digest: record.blob, Size: record.blobSize, MediaType: record.mediaType },
    Added: record.added,
  };
}
