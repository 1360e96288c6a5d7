/** Which step made which layer. */
import { readLayer } from '../layers/add.js';
import type { Digest } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { resolveImage } from './find.js';

export interface HistoryStep {
  /** The image's ID at its last step; undefined for those before, whose images are not known. */
  readonly id: Digest | undefined;
  readonly created: string | undefined;
  readonly createdBy: string;
  readonly comment: string;
  /** Bytes of the step's layer; 0 for a step without one. */
  readonly size: number;
  readonly layer: Digest | undefined;
}

/** The steps, the last one first, as Docker lists them. */
export function imageHistory(store: Store, text: string): HistoryStep[] {
  const { id, config } = resolveImage(store, text);
  const layers = [...config.rootfs.diff_ids];
  const steps = (config.history ?? []).map((entry): HistoryStep => {
    const layer = entry.empty_layer === true ? undefined : layers.shift();
    return {
      id: undefined,
      created: entry.created,
      createdBy: entry.created_by ?? '',
      comment: entry.comment ?? '',
      size: sizeOf(store, layer),
      layer,
    };
  });
  // An image whose history tells less than its layers.
  for (const layer of layers) {
    const size = sizeOf(store, layer);
    steps.push({ id: undefined, created: config.created, createdBy: '', comment: '', size, layer });
  }
  return steps.reverse().map((step, i) => (i === 0 ? { ...step, id } : step));
}

const sizeOf = (store: Store, layer: Digest | undefined): number =>
  layer === undefined ? 0 : (readLayer(store, layer)?.size ?? 0);
