/**
 * What a stack of layers is made of: which layer gives each file, what hides what, and which bytes are
 * kept although nobody sees them. Built from the bottom, one layer's changes after the other.
 */
import type { FileKind } from './kinds.js';

/** The bytes of one file, however many names it has. */
export interface Data {
  /** The number of the layer it lies in; 0: in a data-only layer. */
  readonly layer: number;
  readonly size: number;
  /** Names that show it. */
  names: number;
}

export interface Node {
  readonly kind: FileKind;
  /** The layer that gave it; of a directory, the topmost one that has it. */
  layer: number;
  /** Of a regular file. */
  readonly data: Data | undefined;
  /** Of a directory. */
  readonly children: Map<string, Node> | undefined;
}

/** A, C and D as in `docker diff`. */
export interface LayerChange {
  readonly kind: 'A' | 'C' | 'D';
  readonly path: string;
  readonly file: FileKind;
  /** What the layer brings of it; of what was removed, its size. */
  readonly bytes: number;
  /** The layer whose object was changed or removed. */
  readonly was: number | undefined;
}

/** A file that a layer above its own has replaced or removed. */
export interface Hidden {
  readonly path: string;
  readonly data: Data;
  readonly by: number;
  readonly how: 'replaced' | 'removed';
}

const newDirectory = (layer: number): Node => ({
  kind: 'directory',
  layer,
  data: undefined,
  children: new Map(),
});

/** The directories and files that one layer has taken away, and may give again. */
type Removed = Map<string, Node>;

const under = (path: string, name: string): string => (path === '' ? name : `${path}/${name}`);

export class Model {
  readonly root = newDirectory(1);
  readonly hidden: Hidden[] = [];
  /** Of each layer, the bottom one first. */
  readonly changes: LayerChange[][] = [];
  #layer = 0;
  #removed: Removed = new Map();

  begin(): void {
    this.#layer++;
    this.#removed = new Map();
    this.changes.push([]);
  }

  /** What was removed and not given again. */
  end(): void {
    for (const [path, node] of this.#removed) {
      for (const { file, at } of filesOf(node, path)) this.#hide(at, file, 'removed');
      const slash = path.lastIndexOf('/');
      // One line for a directory that went as a whole.
      if (slash >= 0 && this.#removed.has(path.slice(0, slash))) continue;
      this.#note('D', path, node, node.layer);
    }
    this.#removed = new Map();
  }

  whiteout(path: string): void {
    const [parent, name] = this.#parent(path);
    const node = parent?.children?.get(name);
    if (!node) return;
    parent!.children!.delete(name);
    this.#take(path, node);
  }

  opaque(path: string): void {
    const node = this.#find(path);
    for (const [name, child] of node?.children ?? []) {
      node!.children!.delete(name);
      this.#take(under(path, name), child);
    }
  }

  object(path: string, kind: FileKind, data: Data | undefined): void {
    if (path === '') {
      this.root.layer = this.#layer;
      return;
    }
    const [parent, name] = this.#parent(path);
    // Its directory comes first in every archive order; one that is missing would be a fault of the walk.
    if (!parent?.children) throw new Error(`the layers have no directory for ${path}`);
    const before = parent.children.get(name);
    if (before?.children && kind === 'directory') {
      this.#note('C', path, before, before.layer);
      before.layer = this.#layer;
      return;
    }
    if (before) this.#take(path, before);
    const gone = this.#removed.get(path);
    this.#removed.delete(path);
    if (gone?.data && gone.data !== data) this.#hide(path, gone, 'replaced');
    const children = kind === 'directory' ? new Map<string, Node>() : undefined;
    const node: Node = { kind, layer: data?.layer ?? this.#layer, data, children };
    if (data) data.names++;
    parent.children.set(name, node);
    this.#note(gone ? 'C' : 'A', path, node, gone?.layer);
  }

  /** A node and all below it leave the tree. */
  #take(path: string, node: Node): void {
    if (node.data) node.data.names--;
    for (const [name, child] of node.children ?? []) this.#take(under(path, name), child);
    const own = node.children ? { ...node, children: new Map<string, Node>() } : node;
    this.#removed.set(path, own);
  }

  #hide(path: string, node: Node, how: Hidden['how']): void {
    const { data } = node;
    if (data && data.layer !== this.#layer) this.hidden.push({ path, data, by: this.#layer, how });
  }

  #note(kind: LayerChange['kind'], path: string, node: Node, was: number | undefined): void {
    const { data } = node;
    // Of a file that was only renamed, or only got other attributes, the bytes stay where they are.
    const brings = kind === 'D' || data?.layer === this.#layer;
    const bytes = brings ? (data?.size ?? 0) : 0;
    this.changes[this.#layer - 1].push({ kind, path, file: node.kind, bytes, was });
  }

  #parent(path: string): [Node | undefined, string] {
    const slash = path.lastIndexOf('/');
    if (slash < 0) return [this.root, path];
    return [this.#find(path.slice(0, slash)), path.slice(slash + 1)];
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.root;
    if (path === '') return node;
    for (const name of path.split('/')) node = node?.children?.get(name);
    return node;
  }
}

function* filesOf(node: Node, path: string): Generator<{ file: Node; at: string }> {
  if (node.data) yield { file: node, at: path };
  for (const [name, child] of node.children ?? []) yield* filesOf(child, under(path, name));
}
