/** The shown tree as a list, sorted as bytes, each directory before what is in it. */
import type { Node } from '../../store/explore/model.js';

interface Listed {
  /** Bytes (latin1), without a slash before it. */
  readonly path: string;
  readonly node: Node;
}

export const sorted = (node: Node): [string, Node][] =>
  [...(node.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));

export function* files(node: Node, path = ''): Generator<Listed, void> {
  for (const [name, child] of sorted(node)) {
    const full = path === '' ? name : `${path}/${name}`;
    yield { path: full, node: child };
    yield* files(child, full);
  }
}
