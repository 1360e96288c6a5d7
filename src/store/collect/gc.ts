/**
 * Garbage collection. An object goes when nothing needs it: no image, container, volume or command
 * under way. Manifests go first, then data, then blobs: a crash at any point leaves only what the
 * next run removes.
 */
import { lstatSync, renameSync } from 'node:fs';
import { bytes } from '../../sys/paths.js';
import type { LayerRecord } from '../layers/records.js';
import { names, removeFile, unlessMissing } from '../state/files.js';
import { newId } from '../state/ids.js';
import { DATA_KINDS, type Kind, type Use } from '../state/layout.js';
import { readLeases } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { emptyTrash } from '../state/trash.js';
import { type Marks, mark } from './mark.js';

export interface Verdict {
  /** `layers/HEX`, `blobs/HEX`, or a path below the root for a leftover. */
  readonly object: string;
  readonly keep: boolean;
  readonly reason: string;
  /** On the disk; 0 where that is not known. */
  readonly bytes: number;
}

export interface Swept {
  readonly removed: readonly Use[];
  readonly bytes: number;
}

const UNUSED = 'no image, container, volume or command uses it';

function because(users: readonly string[]): string {
  if (users.length === 0) return 'it is a root';
  const more = users.length > 3 ? ` and ${users.length - 3} more` : '';
  return `used by ${users.slice(0, 3).join(', ')}${more}`;
}

function blobBytes(store: Store, hex: string): number {
  const path = bytes(`${store.root}/content/blobs/sha256/${hex}`);
  return unlessMissing(() => lstatSync(path).size) ?? 0;
}

/** Looks at every object and leftover, in the order in which they would go. Changes nothing. */
function judge(store: Store, marks: Marks): Verdict[] {
  const verdict = (object: Use, size: number): Verdict => {
    const users = marks.live.get(object);
    return {
      object,
      keep: users !== undefined,
      reason: users ? because(users) : UNUSED,
      bytes: size,
    };
  };
  const leftover = (path: string, reason: string): Verdict => ({
    object: path.slice(store.root.length + 1),
    keep: false,
    reason,
    bytes: 0,
  });
  const layers = store.list('layers').map((key) => {
    const record = store.read('layers', key) as LayerRecord;
    return verdict(`layers/${key}`, record.size);
  });
  const blobs = names(`${store.root}/content/blobs/sha256`).map((hex) =>
    verdict(`blobs/${hex}`, blobBytes(store, hex)),
  );
  const dead = readLeases(store.root).dead.map((path) => leftover(path, 'its command has died'));
  const trash = names(`${store.root}/trash`).map((name) =>
    leftover(`${store.root}/trash/${name}`, 'a deletion was cut off'),
  );
  return [...layers, ...blobs, ...orphans(store, marks, leftover), ...dead, ...trash];
}

/** Data directories without a manifest: what a crash has left. Volumes and containers are fsck's to judge. */
function orphans(
  store: Store,
  marks: Marks,
  leftover: (path: string, reason: string) => Verdict,
): Verdict[] {
  const found: Verdict[] = [];
  for (const kind of Object.keys(DATA_KINDS) as Kind[]) {
    if (kind === 'volumes') continue;
    const known = new Set(store.list(kind));
    for (const name of names(`${store.root}/${kind}`)) {
      // A command under way keeps what it is about to publish.
      if (!known.has(name) && !marks.live.has(`${kind}/${name}`)) {
        found.push(
          leftover(`${store.root}/${kind}/${name}`, 'it has no manifest: a crash left it'),
        );
      }
    }
  }
  return found;
}

/** What `gc --dry-run` shows. */
export const survey = (store: Store): Promise<Verdict[]> =>
  store.locked(() => judge(store, mark(store)));

/** Removes everything that nothing needs. */
export async function sweep(store: Store): Promise<Swept> {
  const removed: Use[] = [];
  let total = 0;
  await store.locked(() => {
    for (const { object, keep, bytes: size } of judge(store, mark(store))) {
      if (keep) continue;
      removeObject(store, object);
      if (/^(layers|blobs)\/[0-9a-f]{64}$/.test(object)) removed.push(object as Use);
      total += size;
    }
  });
  // The slow part, outside the lock.
  emptyTrash(store.root);
  return { removed, bytes: total };
}

function removeObject(store: Store, object: string): void {
  const [kind, key] = object.split('/');
  if (kind === 'blobs') {
    // Not synced: a blob that comes back after a power loss is garbage again.
    removeFile(`${store.root}/content/blobs/sha256/${key}`, { sync: false });
    return;
  }
  if (kind === 'trash') return;
  if (kind === 'layers') removeFile(`${store.root}/state/layers/${key}.json`, store);
  const target = `${store.root}/trash/${newId().slice(0, 24)}`;
  unlessMissing(() => {
    renameSync(bytes(`${store.root}/${object}`), bytes(target));
  });
}
