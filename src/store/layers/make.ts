/** Layers that are made here: packed into a blob, unpacked from it, published. */
import { open } from 'node:fs/promises';
import type { Packed, Sink } from '../../archive/types.js';
import { bytes } from '../../sys/paths.js';
import { log } from '../../sys/log.js';
import { MEDIA } from '../content/documents.js';
import { publishBlob } from '../content/ingest.js';
import { type Digest, hexOf, newId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { ensureLayer } from './add.js';
import type { LayerRecord } from './records.js';

/** A file of the lease that takes an archive. */
async function spoolPacked(
  lease: Lease,
  pack: (sink: Sink) => Promise<Packed>,
): Promise<{ path: string; packed: Packed }> {
  const path = `${lease.directory}/${newId().slice(0, 16)}`;
  const file = await open(bytes(path), 'wx', 0o644);
  try {
    const packed = await pack(async (chunk) => {
      for (let done = 0; done < chunk.length; ) {
        done += (await file.write(chunk, done, chunk.length - done)).bytesWritten;
      }
    });
    return { path, packed };
  } finally {
    await file.close();
  }
}

/**
 * The layer of what `pack` writes, on the layers `on` (bottom first); kept by the lease. One that is in the
 * store already is taken from there.
 */
export async function makeLayer(
  store: Store,
  lease: Lease,
  on: readonly Digest[],
  pack: (sink: Sink) => Promise<Packed>,
): Promise<LayerRecord> {
  const { path, packed } = await spoolPacked(lease, pack);
  for (const warning of packed.warnings) log(warning);
  const diffId = packed.diffId as Digest;
  return ensureLayer(store, lease, {
    diffId,
    on,
    // Only a layer that is not here yet needs its blob.
    blob: async () => {
      await store.locked(() => {
        lease.keep(`blobs/${hexOf(diffId)}`);
      });
      await publishBlob(store, lease, path, diffId);
      return { mediaType: MEDIA.layer, digest: diffId, size: packed.size };
    },
  });
}
