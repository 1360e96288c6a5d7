/** `import` of a root file system: a directory or a tarball becomes an image of one layer. */
import { withLease } from '../collect/work.js';
import { packLayer } from '../../archive/pack.js';
import { UserError } from '../../base/errno.js';
import { open } from 'node:fs/promises';
import { bytes } from '../../sys/paths.js';
import { digestFile, type Ingested, publishBlob, spool } from '../content/ingest.js';
import { addImage } from '../images/add.js';
import { applyChanges } from '../images/changes.js';
import { type ImageConfig, MEDIA } from '../content/documents.js';
import { ownPlatform, type Platform } from '../images/platform.js';
import { type Reference, withDefaultTag } from '../images/reference.js';
import { setReference } from '../images/tags.js';
import { ensureLayer, publishLayer, readLayer, tellWarnings, unpackBlob } from '../layers/add.js';
import type { LayerRecord } from '../layers/records.js';
import { type Digest, hexOf, newId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { blobPath } from '../content/blobs.js';
import { layerType } from './take.js';

interface RootfsOptions {
  readonly changes?: readonly string[];
  readonly message?: string;
  readonly platform?: Platform;
  readonly reference?: Reference;
}

/** RFC 3339; SOURCE_DATE_EPOCH (reproducible-builds.org) stands for now. */
export function creationTime(environment: NodeJS.ProcessEnv = process.env): string {
  const epoch = environment['SOURCE_DATE_EPOCH'] ?? '';
  if (epoch === '') return new Date().toISOString();
  if (!/^\d{1,11}$/.test(epoch))
    throw new UserError('SOURCE_DATE_EPOCH is not a number of seconds');
  return new Date(Number(epoch) * 1000).toISOString();
}

/** Puts a stream or a directory's tar into the store; the lease keeps it. */
async function ingestTar(
  store: Store,
  lease: Lease,
  source: AsyncIterable<Uint8Array> | { readonly directory: string },
): Promise<Ingested> {
  const path = `${lease.directory}/${newId().slice(0, 16)}`;
  if (Symbol.asyncIterator in source) {
    const spooled = await spool(lease, source, 'the archive');
    await publishBlob(store, lease, spooled.path, spooled.digest);
    return spooled;
  }
  const file = await open(bytes(path), 'wx', 0o644);
  try {
    await packLayer(
      { kind: 'tree', root: source.directory },
      async (chunk) => {
        await file.writev([chunk]);
      },
      {},
    );
  } finally {
    await file.close();
  }
  const found = await digestFile(path);
  await publishBlob(store, lease, path, found.digest);
  return found;
}

/** The layer of a blob whose diff id is not known yet. */
async function layerOf(store: Store, lease: Lease, blob: Ingested): Promise<LayerRecord> {
  const mediaType = layerType(await start(blobPath(store, blob.digest)));
  const descriptor = { mediaType, digest: blob.digest, size: blob.size };
  // An uncompressed tar's digest is its diff id.
  const known = mediaType === MEDIA.layer ? readLayer(store, blob.digest) : undefined;
  if (known) return ensureLayer(store, lease, { blob: descriptor, diffId: known.diffId, on: [] });
  const unpacked = await unpackBlob(store, lease, { blob: descriptor, on: [] });
  const { tree, record } = unpacked;
  tellWarnings(unpacked);
  await store.locked(() => {
    lease.keep(`layers/${hexOf(record.diffId)}`);
  });
  await publishLayer(store, tree, record);
  return record;
}

async function start(path: string): Promise<Buffer> {
  const file = await open(bytes(path), 'r');
  try {
    return (await file.read(Buffer.alloc(4), 0, 4, 0)).buffer;
  } finally {
    await file.close();
  }
}

function configOf(layer: LayerRecord, options: RootfsOptions): ImageConfig {
  const created = creationTime();
  const { os, architecture, variant } = options.platform ?? ownPlatform();
  return {
    created,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    os,
    config: applyChanges({}, options.changes ?? []),
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [{ created, comment: options.message ?? 'Imported from -' }],
  };
}

/** Makes an image of a root file system; resolves with its ID. Throws UserError. */
export async function importRootfs(
  store: Store,
  source: AsyncIterable<Uint8Array> | { readonly directory: string },
  options: RootfsOptions = {},
): Promise<Digest> {
  // Before the long part: a wrong change costs no import.
  applyChanges({}, options.changes ?? []);
  return withLease(store, async (lease) => {
    const layer = await layerOf(store, lease, await ingestTar(store, lease, source));
    const config = Buffer.from(JSON.stringify(configOf(layer, options)), 'utf8');
    const { blob: digest, blobSize: size, mediaType } = layer;
    const layers = [() => Promise.resolve({ mediaType, digest, size })];
    const id = await addImage(store, lease, { config, layers });
    const { reference } = options;
    if (reference) {
      await store.locked(() => setReference(store, withDefaultTag(reference), id));
    }
    return id;
  });
}
