/**
 * `content/index.json`: with it content/ is an OCI image layout that skopeo and umoci read in place. It is
 * made of the records and holds nothing else: whoever finds it missing or old may make it again.
 */
import { readText, publishFile } from '../state/files.js';
import type { Store } from '../state/store.js';
import { blobSize } from '../content/blobs.js';
import { type Descriptor, MEDIA } from '../content/documents.js';
import type { ImageRecord, RepositoryRecord } from './records.js';

export const LAYOUT_FILE = '{"imageLayoutVersion":"1.0.0"}';
export const REFERENCE_NAME = 'org.opencontainers.image.ref.name';

/** The text of the index, from the records. */
function indexText(store: Store): string {
  const images = new Map<string, ImageRecord>();
  for (const key of store.list('images')) {
    const record = store.read('images', key) as ImageRecord | undefined;
    if (record) images.set(record.id, record);
  }
  const manifests: Descriptor[] = [];
  const describe = ({ ociManifest: digest }: ImageRecord): Descriptor => ({
    mediaType: MEDIA.manifest,
    digest,
    size: blobSize(store, digest) ?? 0,
  });
  for (const key of store.list('repositories')) {
    const record = store.read('repositories', key) as RepositoryRecord | undefined;
    for (const [tag, id] of Object.entries(record?.tags ?? {})) {
      const image = images.get(id);
      const name = `${record!.name}:${tag}`;
      if (image) manifests.push({ ...describe(image), annotations: { [REFERENCE_NAME]: name } });
    }
  }
  const named = new Set(manifests.map(({ digest }) => digest));
  for (const image of images.values()) {
    if (!named.has(image.ociManifest)) manifests.push(describe(image));
  }
  return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests });
}

/** Writes the index when it is not what the records say; true when it was written. */
export function writeIndex(store: Store): boolean {
  const text = indexText(store);
  const path = `${store.root}/content/index.json`;
  // Not synced: it can be made again at any time.
  const lazily = { sync: false };
  if (readText(`${store.root}/content/oci-layout`) !== LAYOUT_FILE) {
    publishFile(`${store.root}/content/oci-layout`, LAYOUT_FILE, lazily, 0o644);
  }
  if (readText(path) === text) return false;
  publishFile(path, text, lazily, 0o644);
  return true;
}
