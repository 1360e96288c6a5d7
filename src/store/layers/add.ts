/** Layers come in: unpacked once from a blob, checked against the diff id, published. */
import { mkdirSync, statSync, utimesSync } from 'node:fs';
import { unpackLayer } from '../../archive/unpack.js';
import { UserError } from '../../base/errno.js';
import { log } from '../../sys/log.js';
import { bytes } from '../../sys/paths.js';
import { readBlobStream } from '../content/ingest.js';
import type { Descriptor } from '../content/documents.js';
import { publishRename, syncDirectory } from '../state/files.js';
import { type Digest, hexOf, newId, shortId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { discard } from '../state/trash.js';
import { layerFormat } from './format.js';
import type { LayerRecord } from './records.js';
import { treesOf } from './stack.js';

interface LayerInput {
  /** The blob, in the store and kept by the lease; a function brings it when it is needed. */
  readonly blob: Descriptor | (() => Promise<Descriptor>);
  readonly diffId: Digest;
  /** Diff ids of the layers below, bottom first. */
  readonly on: readonly Digest[];
}

interface UnpackedBlob {
  readonly tree: string;
  readonly record: LayerRecord;
  readonly warnings: readonly string[];
}

/** Says what this user or file system could not keep of a layer. */
export function tellWarnings({ record, warnings }: UnpackedBlob): void {
  for (const warning of warnings) log(`layer ${shortId(record.diffId)}: ${warning}`);
}

interface BlobInput {
  readonly blob: Descriptor;
  /** Absent: whatever it is. */
  readonly diffId?: Digest;
  readonly on: readonly Digest[];
}

export const readLayer = (store: Store, diffId: Digest): LayerRecord | undefined =>
  store.read('layers', hexOf(diffId)) as LayerRecord | undefined;

/** Where a layer that is here lies as a blob. */
export function blobOf(store: Store, diffId: Digest): Descriptor {
  const layer = readLayer(store, diffId);
  if (!layer) throw new UserError(`layer ${shortId(diffId)} is missing: run stratafs fsck`);
  return { mediaType: layer.mediaType, digest: layer.blob, size: layer.blobSize };
}

/** An access time that no archive gives and no read changes (relatime): 1 January 2100. */
const UNTOUCHED = 4_102_444_800;

/** A root that the archive does not describe has a fixed time, as umoci's: the same layer is the same tree. */
function settleRoot(tree: string, sync: boolean): void {
  if (statSync(bytes(tree)).atimeMs !== UNTOUCHED * 1000) return;
  utimesSync(bytes(tree), 0, 0);
  if (sync) syncDirectory(tree);
}

/** Unpacks a blob into a new directory of the lease; throws UserError when it is not the layer. */
export async function unpackBlob(
  store: Store,
  lease: Lease,
  input: BlobInput,
  sync = store.sync,
): Promise<UnpackedBlob> {
  const { blob, diffId, on } = input;
  const tree = `${lease.directory}/${newId().slice(0, 16)}`;
  mkdirSync(bytes(tree), 0o755);
  utimesSync(bytes(tree), UNTOUCHED, 0);
  const { userxattr, ignoreOwners } = layerFormat();
  const unpacked = await unpackLayer(readBlobStream(store, blob.digest), {
    root: tree,
    whiteouts: 'overlay',
    userxattr,
    ignoreOwners,
    lowers: treesOf(store, on),
    sync,
    expect: { digest: blob.digest, size: blob.size, diffId },
  });
  settleRoot(tree, sync);
  const record: LayerRecord = {
    diffId: unpacked.diffId as Digest,
    blob: blob.digest,
    blobSize: unpacked.compressedSize,
    mediaType: blob.mediaType,
    tarSize: unpacked.size,
    size: unpacked.dataSize,
    entries: unpacked.entries,
    on,
    added: new Date().toISOString(),
    uses: [`blobs/${hexOf(blob.digest)}`],
  };
  return { tree, record, warnings: unpacked.warnings };
}

/** Publishes an unpacked, synced tree as a layer; another command may have been faster. */
export async function publishLayer(store: Store, tree: string, record: LayerRecord): Promise<void> {
  const key = hexOf(record.diffId);
  await store.locked(() => {
    if (store.has('layers', key)) return;
    const target = store.dataOf('layers', key);
    // What a crash between these two steps has left.
    discard(store.root, target);
    publishRename(tree, target, store);
    store.publish('layers', key, record);
  });
}

/** Sees to it that the layer is in the store, and kept by the lease. Resolves with its record. */
export async function ensureLayer(
  store: Store,
  lease: Lease,
  input: LayerInput,
): Promise<LayerRecord> {
  const key = hexOf(input.diffId);
  const there = await store.locked(() => {
    lease.keep(`layers/${key}`);
    return readLayer(store, input.diffId);
  });
  if (there) return there;
  const blob = typeof input.blob === 'function' ? await input.blob() : input.blob;
  const unpacked = await unpackBlob(store, lease, { ...input, blob });
  tellWarnings(unpacked);
  await publishLayer(store, unpacked.tree, unpacked.record);
  const published = readLayer(store, input.diffId);
  if (!published) throw new UserError(`layer ${shortId(input.diffId)} was removed meanwhile`);
  return published;
}
