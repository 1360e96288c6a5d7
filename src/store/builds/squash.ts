/** `--squash`: the layers that the build has made become one. */
import { packItems } from '../../archive/pack.js';
import { squashedItems } from '../../archive/squashed.js';
import { Stack } from '../../archive/stack.js';
import { Sys } from '../../sys/sys.js';
import type { HistoryEntry } from '../content/documents.js';
import { layerFormat } from '../layers/format.js';
import { readImage } from '../images/find.js';
import { makeLayer } from '../layers/make.js';
import { treesOf } from '../layers/stack.js';
import type { Digest } from '../state/ids.js';
import type { BuildScope, StageResult } from './scope.js';

interface Squashed {
  readonly layers: readonly Digest[];
  readonly history: readonly HistoryEntry[];
}

export async function squash(build: BuildScope, stage: StageResult): Promise<Squashed> {
  const { store, lease } = build;
  const { created } = stage;
  const { layers: base } = stage.base.id === undefined ? { layers: [] } : rootOf(build, stage);
  const made = stage.layers.slice(base.length);
  if (made.length < 2) return stage;
  const sys = new Sys();
  const { userxattr } = layerFormat();
  const trees = treesOf(store, stage.layers);
  const stack = new Stack(sys, trees, [], userxattr);
  const lowers = trees.slice(made.length);
  const below = lowers.length === 0 ? undefined : new Stack(sys, lowers, [], userxattr);
  try {
    const layer = await makeLayer(store, lease, base, (sink) =>
      packItems(
        () => squashedItems(stack, below, made.length),
        stack.prefix,
        sink,
        build.packOptions,
      ),
    );
    const history = stage.history.map((entry, at) =>
      at < stage.history.length - ownSteps(stage, made.length)
        ? entry
        : { ...entry, empty_layer: true },
    );
    const comment = `merge of ${made.length} layers`;
    return { layers: [...base, layer.diffId], history: [...history, { created, comment }] };
  } finally {
    stack.close();
    below?.close();
  }
}

/** How many lines of the history, from its end, tell of the build's own layers. */
function ownSteps({ history }: StageResult, made: number): number {
  let left = made;
  let lines = 0;
  for (const entry of [...history].reverse()) {
    if (left === 0) break;
    if (entry.empty_layer !== true) left--;
    lines++;
  }
  return lines;
}

/** The image below all stages that this one lies on. */
const rootOf = ({ store }: BuildScope, { base }: StageResult): { layers: readonly Digest[] } => ({
  layers: readImage(store, base.id!).layers,
});
