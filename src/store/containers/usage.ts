/** What a container takes on the disk. */
import { lstatSync, readdirSync } from 'node:fs';
import { hexOf } from '../state/ids.js';
import type { Store } from '../state/store.js';
import type { LayerRecord } from '../layers/records.js';
import { type ContainerManifest, directoryOf } from './records.js';

/** Bytes of the regular files below a directory; a file that goes meanwhile counts nothing. */
export function bytesBelow(directory: Buffer): number {
  let sum = 0;
  for (const entry of readdirSync(directory, { encoding: 'buffer', withFileTypes: true })) {
    const path = Buffer.concat([directory, Buffer.from('/'), entry.name]);
    if (entry.isDirectory()) sum += bytesBelow(path);
    else if (entry.isFile()) sum += lstatSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }
  return sum;
}

/** Bytes of its writable layer, and of the image's layers, which it shares. */
export function layersUsage(
  store: Store,
  container: ContainerManifest,
): { readonly own: number; readonly image: number } {
  const image = container.layers.reduce((sum, diffId) => {
    const record = store.read('layers', hexOf(diffId)) as LayerRecord | undefined;
    return sum + (record?.size ?? 0);
  }, 0);
  return { own: bytesBelow(Buffer.from(`${directoryOf(store, container.id)}/upper`)), image };
}
