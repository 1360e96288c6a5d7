/** Manifests over another blob of the same layer. */
import { parseJson, readBlob, writeBlob } from '../content/blobs.js';
import { type Digest, hexOf } from '../state/ids.js';
import type { Use } from '../state/layout.js';
import type { Store } from '../state/store.js';
import { checkManifest } from './checks.js';
import type { Descriptor } from '../content/documents.js';
import { writeIndex } from './layoutIndex.js';
import { ociManifest } from './oci.js';
import type { ImageRecord } from './records.js';
import { imagesUsing } from './users.js';

const use = (digest: Digest): Use => `blobs/${hexOf(digest)}`;

/**
 * Gives every image whose manifest names `lost` a manifest that names `blob` instead. IDs stay: they are the
 * configs'. Call it under the store's lock.
 */
export function remakeManifests(store: Store, lost: Digest, blob: Descriptor): void {
  for (const record of imagesUsing(store, lost)) {
    const manifest = checkManifest(parseJson(readBlob(store, record.manifest), 'the manifest'));
    const layers = manifest.layers.map((each) => (each.digest === lost ? blob : each));
    const data = Buffer.from(JSON.stringify({ ...manifest, layers }), 'utf8');
    const manifests = {
      manifest: writeBlob(store, data),
      ociManifest: writeBlob(store, ociManifest(data)),
    };
    const gone = new Set([lost, record.manifest, record.ociManifest].map(use));
    const uses = (record.uses ?? []).filter((each) => !gone.has(each));
    const next: ImageRecord = {
      ...record,
      ...manifests,
      uses: [...new Set([...uses, ...[blob.digest, ...Object.values(manifests)].map(use)])],
    };
    store.publish('images', hexOf(record.id), next);
  }
  writeIndex(store);
}
