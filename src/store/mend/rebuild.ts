/** Records made again from content: blobs are the truth, the rest can be derived. */
import { UserError } from '../../base/errno.js';
import { withLease } from '../collect/work.js';
import { blobSize, MAX_JSON, parseJson, readBlob } from '../content/blobs.js';
import type { Descriptor, ImageManifest } from '../content/documents.js';
import { addImage } from '../images/add.js';
import { checkIndex, checkManifest } from '../images/checks.js';
import { REFERENCE_NAME } from '../images/layoutIndex.js';
import type { ImageRecord } from '../images/records.js';
import { parseReference } from '../images/reference.js';
import { setReference } from '../images/tags.js';
import { publishLayer, unpackBlob } from '../layers/add.js';
import { below, belowInImage, imagesWith } from '../layers/stack.js';
import { packsTo } from '../layers/verify.js';
import { names, readText, removeFile } from '../state/files.js';
import { type Digest, digestOf, hexOf, shortId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { refetchBlob } from '../transfer/refetch.js';
import { packAgain } from './repair.js';

/** UserErrors are reasons why it does not go; anything else is a bug. */
async function attempt<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

function tryManifest(store: Store, digest: Digest): ImageManifest | undefined {
  if ((blobSize(store, digest) ?? MAX_JSON) >= MAX_JSON) return undefined;
  try {
    const data = readBlob(store, digest);
    // A look at the first byte spares parsing small layers.
    return data[0] === 0x7b ? checkManifest(parseJson(data, 'a blob')) : undefined;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

/** The manifest in content/ whose config is the image. */
function findManifest(
  store: Store,
  id: Digest,
): { digest: Digest; manifest: ImageManifest } | undefined {
  for (const hex of names(`${store.root}/content/blobs/sha256`)) {
    if (!/^[0-9a-f]{64}$/.test(hex)) continue;
    const manifest = tryManifest(store, digestOf(hex));
    if (manifest?.config.digest === id) return { digest: digestOf(hex), manifest };
  }
  return undefined;
}

/** Makes an image's record again; undefined when content has not all of it. */
export function rebuildImage(store: Store, id: Digest): Promise<string | undefined> {
  return attempt(() =>
    withLease(store, async (lease) => {
      const found = findManifest(store, id);
      if (!found) return undefined;
      removeFile(`${store.root}/state/images/${hexOf(id)}.json`, store);
      const layers = found.manifest.layers.map((layer) => async () => {
        await store.locked(() => {
          lease.keep(`blobs/${hexOf(layer.digest)}`);
        });
        return layer;
      });
      const config = readBlob(store, id);
      await addImage(store, lease, { config, layers, manifest: readBlob(store, found.digest) });
      return 'it was made again from its manifest';
    }),
  );
}

/** The blob of a layer, as an image's manifest names it. */
function blobOf(store: Store, diffId: Digest): Descriptor | undefined {
  for (const record of imagesWith(store, diffId)) {
    const manifest = tryManifest(store, record.manifest);
    const found = manifest?.layers[record.layers.indexOf(diffId)];
    if (found && blobSize(store, found.digest) !== undefined) return found;
  }
  return undefined;
}

/** What it lies on, also where its own record is damaged. */
function safeBelow(store: Store, diffId: Digest): readonly Digest[] {
  try {
    return below(store, diffId);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return belowInImage(store, diffId);
  }
}

/** Unpacks a layer anew and makes its record again; undefined when its blob is not there. */
export function rebuildLayer(store: Store, diffId: Digest): Promise<string | undefined> {
  return attempt(() =>
    withLease(store, async (lease) => {
      const blob = blobOf(store, diffId);
      if (!blob) return undefined;
      await keepBoth(store, lease, diffId, blob.digest);
      const input = { blob, diffId, on: safeBelow(store, diffId) };
      const { tree, record } = await unpackBlob(store, lease, input);
      removeFile(`${store.root}/state/layers/${hexOf(diffId)}.json`, store);
      await publishLayer(store, tree, record);
      return 'it was unpacked again from its blob';
    }),
  );
}

async function keepBoth(store: Store, lease: Lease, diffId: Digest, blob: Digest): Promise<void> {
  await store.locked(() => {
    lease.keep(`layers/${hexOf(diffId)}`);
    lease.keep(`blobs/${hexOf(blob)}`);
  });
}

/** A lost or damaged blob: from the layer's files, or from the registry; undefined when neither has it. */
export function restoreBlob(store: Store, digest: Digest): Promise<string | undefined> {
  return attempt(async () => {
    const lease = await store.lease();
    try {
      for (const key of store.list('layers')) {
        const record = store.read('layers', key) as ImageRecord & { diffId: Digest; blob: Digest };
        if (record.blob !== digest || (await packsTo(store, record.diffId)) === undefined) continue;
        await packAgain(store, lease, record.diffId);
        return `it was made anew from the files of layer ${shortId(record.diffId)}`;
      }
      const reasons: string[] = [];
      return (await refetchBlob(store, lease, digest, reasons))
        ? 'it was fetched again'
        : undefined;
    } finally {
      lease.release();
    }
  });
}

/** Tags from content/index.json, for repositories whose manifest is lost; undefined when it has none. */
export async function rebuildRepositories(store: Store): Promise<string | undefined> {
  const text = readText(`${store.root}/content/index.json`);
  if (text === undefined) return undefined;
  const index = checkIndex(parseJson(Buffer.from(text, 'utf8'), 'content/index.json')) ?? [];
  const found: string[] = [];
  for (const { digest, annotations } of index) {
    const name = annotations?.[REFERENCE_NAME];
    const id = tryManifest(store, digest)?.config.digest;
    if (name === undefined || id === undefined || !store.has('images', hexOf(id))) continue;
    const reference = parseReference(name);
    await store.locked(() => {
      setReference(store, reference, id);
    });
    found.push(name);
  }
  return found.length === 0 ? undefined : 'its tags were taken from content/index.json';
}
