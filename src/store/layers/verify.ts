/**
 * Is a layer what its diff id says? The blob is unpacked once more, which checks its digest and the diff
 * id, and the two trees are compared. Where the blob is bad, the tree is packed again: when that gives the
 * diff id, the tree is right.
 */
import { packLayer } from '../../archive/pack.js';
import type { PackSource, Style } from '../../archive/types.js';
import { UserError } from '../../base/errno.js';
import { hexOf, type Digest, shortId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { readLayer, unpackBlob } from './add.js';
import { compareTrees, type Difference } from './compare.js';
import { layerFormat } from './format.js';
import type { LayerRecord } from './records.js';
import { below, treesOf } from './stack.js';

export interface Verified {
  readonly layer: Digest;
  /** What is wrong with the blob; undefined: nothing. */
  readonly blob: string | undefined;
  /** What is wrong with the tree. */
  readonly differences: readonly Difference[];
  /** The tree could be judged: by the blob, or by packing it again. */
  readonly judged: boolean;
}

export const isSound = ({ blob, differences, judged }: Verified): boolean =>
  blob === undefined && judged && differences.length === 0;

export interface Checked extends Verified {
  readonly record: LayerRecord;
  /** The layer unpacked anew, in the lease; undefined when the blob is bad. */
  readonly fresh: string | undefined;
}

/** How the store's own layers, and others', may have been written. */
const STYLES: readonly Style[] = ['full', 'docker', 'containerd'];

/** What `packLayer` takes to give the layer's archive again. */
interface Packing {
  readonly source: PackSource;
  readonly style: Style;
}

function packings(store: Store, diffId: Digest): Packing[] {
  const upper = store.dataOf('layers', hexOf(diffId));
  const { userxattr } = layerFormat();
  const lowers = treesOf(store, below(store, diffId));
  const changes: PackSource = { kind: 'changes', upper, lowers, userxattr };
  // What was imported as a whole tree has no marks of overlay.
  const sources: PackSource[] =
    lowers.length > 0 ? [changes] : [changes, { kind: 'tree', root: upper }];
  return sources.flatMap((source) => STYLES.map((style) => ({ source, style })));
}

/** How the tree is packed to give the diff id; undefined: in no way. */
export async function packsTo(store: Store, diffId: Digest): Promise<Packing | undefined> {
  for (const packing of packings(store, diffId)) {
    try {
      const packed = await packLayer(packing.source, () => undefined, { style: packing.style });
      if (packed.diffId === diffId) return packing;
    } catch (error) {
      // A tree that cannot be packed is not right.
      if (!(error instanceof UserError)) throw error;
      return undefined;
    }
  }
  return undefined;
}

/** Checks a layer; the fresh tree stays in the lease, synced with `sync`, for `repair`. */
export async function checkLayer(
  store: Store,
  lease: Lease,
  diffId: Digest,
  sync = false,
): Promise<Checked> {
  const record = readLayer(store, diffId);
  if (!record) throw new UserError(`No such layer: ${shortId(diffId)}`);
  const base = { layer: diffId, record };
  const blob = { mediaType: record.mediaType, digest: record.blob, size: record.blobSize };
  // The kernel's clock of files is a tick behind.
  const begun = Date.now() - 1000;
  let fresh: string;
  try {
    const input = { blob, diffId, on: below(store, diffId) };
    fresh = (await unpackBlob(store, lease, input, sync)).tree;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const judged = (await packsTo(store, diffId)) !== undefined;
    return { ...base, blob: error.message, differences: [], judged, fresh: undefined };
  }
  const all = compareTrees(fresh, store.dataOf('layers', hexOf(diffId)), begun);
  // Where layers it was unpacked on are gone, nobody knows what a root that no entry describes was like.
  const isKnown = record.on.every((each) => store.has('layers', hexOf(each)));
  const differences = all.filter(
    ({ path, what }) => isKnown || path !== '/' || what === 'missing' || what === 'added',
  );
  return { ...base, blob: undefined, differences, judged: true, fresh };
}

/** Checks a layer and changes nothing. Throws UserError. */
export async function verifyLayer(store: Store, diffId: Digest): Promise<Verified> {
  const lease = await store.lease();
  try {
    const { layer, blob, differences, judged } = await checkLayer(store, lease, diffId);
    return { layer, blob, differences, judged };
  } finally {
    lease.release();
  }
}
