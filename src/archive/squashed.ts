/** What several layers together change, as one layer: for `build --squash`. */
import { isDotMark } from '../layer/whiteout.js';
import type { Part, Stack } from './stack.js';
import { item, type Items, namesOf, objectOf, under, walkUnion } from './walk.js';

/** Of a whiteout, which is no object here. */
const NOWHERE = { fd: -1, layer: 0 };

/**
 * What the topmost `count` layers of `stack` change of the others, which `below` has alone. The archive's
 * order; whiteouts and opaque marks only where they hide something.
 */
export function* squashedItems(stack: Stack, below: Stack | undefined, count: number): Items {
  const [root] = stack.roots;
  if (root.layer < count) yield item('object', '', root, '.');
  const wholly = below !== undefined && continues(stack.roots, below.roots, count);
  if (below && !wholly) yield item('opaque', '', root, '.');
  yield* merged(stack, wholly ? below : undefined, count, [stack.roots, below?.roots], '');
}

/** The lower layers' part of a merged directory is what they show by themselves. */
function continues(parts: readonly Part[], lower: readonly Part[], count: number): boolean {
  const rest = parts.filter(({ layer }) => layer >= count);
  return (
    rest.length === lower.length && rest.every(({ layer }, i) => layer - count === lower[i].layer)
  );
}

function* merged(
  stack: Stack,
  below: Stack | undefined,
  count: number,
  [parts, lower]: readonly [readonly Part[], readonly Part[] | undefined],
  path: string,
): Items {
  const names = new Set<string>();
  for (const { layer, fd } of parts) {
    if (layer >= count) continue;
    for (const name of namesOf(stack.sys, fd, path)) if (!isDotMark(name)) names.add(name);
  }
  for (const name of [...names].sort()) {
    const full = under(path, name);
    const before = below && lower ? below.look(lower, name) : undefined;
    const now = stack.look(parts, name);
    try {
      if (now.kind === 'nothing') {
        if (before && before.kind !== 'nothing') yield item('whiteout', full, NOWHERE, name);
      } else if (now.kind === 'object') {
        if (now.object.layer < count) yield objectOf(full, now);
      } else {
        const [top] = now.parts;
        if (top.layer < count) yield item('object', full, top, '.');
        const wasDirectory = before?.kind === 'dir';
        if (wasDirectory && continues(now.parts, before.parts, count)) {
          yield* merged(stack, below, count, [now.parts, before.parts], full);
        } else {
          if (wasDirectory) yield item('opaque', full, top, '.');
          yield* walkUnion(stack, now.parts, full);
        }
      }
    } finally {
      stack.release(now);
      if (before) below?.release(before);
    }
  }
}
