/** Images come in: config and manifest checked, layers unpacked, then one record published. */
import { UserError } from '../../base/errno.js';
import { parseJson, sha256, writeBlob } from '../content/blobs.js';
import { ensureLayer } from '../layers/add.js';
import type { LayerRecord } from '../layers/records.js';
import { type Digest, hexOf } from '../state/ids.js';
import type { Use } from '../state/layout.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { checkConfig } from './checks.js';
import { type Descriptor, type ImageManifest, MEDIA } from '../content/documents.js';
import { ociManifest } from './oci.js';
import type { ImageRecord } from './records.js';

interface ImageInput {
  /** The config's bytes: their sha256 is the image's ID. */
  readonly config: Uint8Array;
  /**
   * One per diff id, bottom first. Each brings its blob into the store, kept by the lease; without a
   * manifest it is asked only for layers that are not there yet.
   */
  readonly layers: readonly (() => Promise<Descriptor>)[];
  /** The manifest's bytes as they came; without, one is made. */
  readonly manifest?: Uint8Array;
  readonly parent?: Digest;
  /** Called before each layer. */
  readonly onLayer?: (diffId: Digest, index: number, count: number) => void;
}

/** The manifest of an image that came without one. */
function makeManifest(config: Uint8Array, layers: readonly Descriptor[]): Buffer {
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: { mediaType: MEDIA.config, digest: sha256(config), size: config.length },
    layers,
  };
  return Buffer.from(JSON.stringify(manifest), 'utf8');
}

/** Adds an image; the lease keeps it until the caller has tagged it. Resolves with its ID. Throws UserError. */
export async function addImage(store: Store, lease: Lease, input: ImageInput): Promise<Digest> {
  const config = checkConfig(parseJson(Buffer.from(input.config), 'the image config'));
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== input.layers.length) {
    throw new UserError(
      `the manifest has ${input.layers.length} layers and the config has ${diffIds.length}`,
    );
  }
  const id = sha256(input.config);
  await store.locked(() => {
    lease.keep(`images/${hexOf(id)}`);
    lease.keep(`blobs/${hexOf(id)}`);
  });
  const { layers, blobs } = await ensureLayers(store, lease, diffIds, input);
  const manifest = input.manifest ?? makeManifest(input.config, blobs);
  const inOci = ociManifest(manifest);
  await store.locked(() => {
    for (const each of [manifest, inOci]) lease.keep(`blobs/${hexOf(sha256(each))}`);
  });
  writeBlob(store, input.config);
  const record: ImageRecord = {
    id,
    manifest: writeBlob(store, manifest),
    manifestType: typeOf(manifest),
    ociManifest: writeBlob(store, inOci),
    layers: diffIds,
    ...(input.parent === undefined ? {} : { parent: input.parent }),
    added: new Date().toISOString(),
    size: layers.reduce((sum, { size }) => sum + size, 0),
    uses: usesOf([id, sha256(manifest), sha256(inOci)], diffIds, blobs),
  };
  await store.locked(() => {
    // One that is there stays: it may know its parent, and its blobs are there.
    if (store.has('images', hexOf(id))) return;
    store.publish('images', hexOf(id), record);
    lease.added.push(hexOf(id));
  });
  return id;
}

/** Docker's manifests name their type always, OCI's may leave it out. */
function typeOf(manifest: Uint8Array): string {
  const { mediaType } = parseJson(Buffer.from(manifest), 'the manifest') as ImageManifest;
  return mediaType ?? MEDIA.manifest;
}

interface Layers {
  readonly layers: LayerRecord[];
  /** What the manifest names. */
  readonly blobs: Descriptor[];
}

async function ensureLayers(
  store: Store,
  lease: Lease,
  diffIds: readonly Digest[],
  input: ImageInput,
): Promise<Layers> {
  const result: Layers = { layers: [], blobs: [] };
  for (const [i, diffId] of diffIds.entries()) {
    input.onLayer?.(diffId, i, diffIds.length);
    // A layer that is here already may lie in another blob than the one that came with this image. A
    // manifest that came is kept as it is, with its own blobs.
    const brought = input.manifest === undefined ? undefined : await input.layers[i]();
    const source = { diffId, on: diffIds.slice(0, i), blob: brought ?? input.layers[i] };
    const layer = await ensureLayer(store, lease, source);
    result.layers.push(layer);
    const { blob, blobSize, mediaType } = layer;
    result.blobs.push(brought ?? { mediaType, digest: blob, size: blobSize });
  }
  return result;
}

function usesOf(
  documents: readonly Digest[],
  diffIds: readonly Digest[],
  blobs: readonly Descriptor[],
): Use[] {
  const uses = new Set<Use>(documents.map((digest) => `blobs/${hexOf(digest)}` as const));
  for (const diffId of diffIds) uses.add(`layers/${hexOf(diffId)}`);
  for (const { digest } of blobs) uses.add(`blobs/${hexOf(digest)}`);
  return [...uses];
}
