/** Removing what only makes the next build faster. */
import { sweep } from '../collect/gc.js';
import { tryLock } from '../state/lock.js';
import type { Store } from '../state/store.js';
import type { BuildRecord } from './cache.js';
import { endStaleBuilds } from './stale.js';

interface Pruned {
  readonly removed: readonly string[];
  /** Of layers and blobs that nothing else needs; cache mounts are not counted. */
  readonly bytes: number;
}

/** Removes records of the layer cache and cache mounts; those older than `before` (ms) when it is given. */
export async function pruneBuilds(store: Store, before?: number): Promise<Pruned> {
  await endStaleBuilds(store);
  const removed: string[] = [];
  for (const key of store.list('builds')) {
    await store.locked(() => {
      const record = store.read('builds', key) as Partial<BuildRecord> | undefined;
      if (!record || (before !== undefined && !(Date.parse(record.added ?? '') < before))) return;
      // A build under way uses it.
      const lock = tryLock(`${store.root}/locks/builds-${key}`);
      if (!lock) return;
      store.remove('builds', key);
      lock.release();
      removed.push(key);
    });
  }
  const { bytes } = await sweep(store);
  return { removed, bytes };
}
