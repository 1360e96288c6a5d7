/** Images as a tree: what lies on the same layers hangs together. */
import { readLayer } from '../layers/add.js';
import { type Digest, shortId } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { listImages } from './list.js';
import { familiar, parseReference } from './reference.js';

interface Branch {
  readonly layer: Digest | undefined;
  readonly below: Map<Digest, Branch>;
  /** Names (or short IDs) of the images that end here. */
  readonly images: string[];
}

interface TreeLine {
  /** The lines of the drawing before the layer. */
  readonly prefix: string;
  readonly layer: Digest;
  /** Bytes of the layer's files. */
  readonly size: number;
  readonly images: readonly string[];
}

const branch = (layer?: Digest): Branch => ({ layer, below: new Map(), images: [] });

/** One line a layer, the bottom ones first, of the images that `select` takes. */
export function imageTree(store: Store, select: (id: Digest) => boolean): TreeLine[] {
  const root = branch();
  for (const { id, record, tags } of listImages(store)) {
    if (!select(id)) continue;
    let at = root;
    for (const layer of record.layers) {
      const next = at.below.get(layer) ?? branch(layer);
      at.below.set(layer, next);
      at = next;
    }
    const names = tags.map((name) => familiar(parseReference(name)));
    at.images.push(...(names.length === 0 ? [`<none> (${shortId(id)})`] : names));
  }
  const lines: TreeLine[] = [];
  draw(store, root, '', lines);
  return lines;
}

function draw(store: Store, { below }: Branch, prefix: string, lines: TreeLine[]): void {
  const all = [...below.values()];
  for (const [i, each] of all.entries()) {
    // A layer with nothing beside it stands under the one below it: long chains do not wander off.
    const alone = all.length === 1;
    const last = i === all.length - 1;
    const mark = alone ? '' : last ? '└─ ' : '├─ ';
    const layer = each.layer!;
    const size = readLayer(store, layer)?.size ?? 0;
    lines.push({ prefix: prefix + mark, layer, size, images: each.images.sort() });
    draw(store, each, prefix + (alone ? '' : last ? '   ' : '│  '), lines);
  }
}
