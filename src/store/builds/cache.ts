/**
 * The layer cache: what a step did on exactly these layers. A key is the digest of the layers below (or of
 * none, for COPY --link) and of all that the step's result depends on. Records are roots for gc: they keep
 * their layers until `builder prune`.
 */
import { createHash } from 'node:crypto';
import { readLayer } from '../layers/add.js';
import type { LayerRecord } from '../layers/records.js';
import { type Digest, hexOf } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Manifest, Store } from '../state/store.js';

export interface BuildRecord extends Manifest {
  readonly layer: Digest;
  /** The step, for people. */
  readonly step: string;
  /** RFC 3339. */
  readonly added: string;
}

export const stepKey = (on: readonly Digest[], what: readonly unknown[]): string =>
  createHash('sha256')
    .update(JSON.stringify([on, what]))
    .digest('hex');

/** What a step has made. */
interface Made {
  readonly layer: LayerRecord;
  /** When; RFC 3339. */
  readonly added: string;
}

/** What the step made before; its layer is kept by the lease. */
export function cachedStep(store: Store, lease: Lease, key: string): Promise<Made | undefined> {
  return store.locked(() => {
    const record = store.read('builds', key) as BuildRecord | undefined;
    if (!record) return undefined;
    lease.keep(`layers/${hexOf(record.layer)}`);
    const layer = readLayer(store, record.layer);
    return layer && { layer, added: record.added };
  });
}

/** Call it while the lease keeps the layer. */
export function remember(store: Store, key: string, { layer, added }: Made, step: string): void {
  const uses = [`layers/${hexOf(layer.diffId)}` as const];
  const record: BuildRecord = { layer: layer.diffId, step, added, uses };
  store.publish('builds', key, record);
}
