/** Random layers full of whiteouts and opaque directories, and their union computed from the rules alone. */
import type { Random } from '../differential/random.js';
import { dir, type Entry, file, symlink, whFile, whiteout, whOpaque } from './tree.js';

/** An object of one layer. */
interface Node {
  readonly kind: 'file' | 'symlink' | 'whiteout' | 'xwhiteout' | 'dir';
  /** A file's bytes, as long as its layer's number and one: tells where a union's file comes from. */
  readonly size: number;
  readonly opaque: '' | 'y' | '.wh.';
  readonly children: ReadonlyMap<string, Node>;
  /** Names that have a `.wh.` file beside them. */
  readonly dotHidden: ReadonlySet<string>;
}

export interface Layer {
  readonly root: Node;
  readonly upper: boolean;
  /** Every directory is marked as one that may hold xwhiteouts. */
  readonly xmarked: boolean;
}

export const NAMES = ['a', 'b', 'c\xff'] as const;
const DEPTH = 3;

export function randomLayer(random: Random, number: number, upper: boolean): Layer {
  const xmarked = !upper && random.chance(30);
  const makeDir = (depth: number, isRoot: boolean): Node => {
    const children = new Map<string, Node>();
    const dotHidden = new Set<string>();
    for (const name of NAMES) {
      const kind = random.weighted<Node['kind'] | 'none' | 'dot'>([
        [isRoot ? 1 : 3, 'none'],
        [depth < DEPTH ? 5 : 0, 'dir'],
        [2, 'file'],
        [1, 'symlink'],
        [1, 'whiteout'],
        [upper ? 0 : 1, 'dot'],
        [xmarked ? 2 : 0, 'xwhiteout'],
      ]);
      if (kind === 'dot') dotHidden.add(name);
      else if (kind === 'dir') children.set(name, makeDir(depth + 1, false));
      else if (kind !== 'none') children.set(name, leaf(kind, number));
      // Beside a file of its own layer a `.wh.` hides only what is below, which the file does too.
      if (kind === 'file' && !upper && random.chance(20)) dotHidden.add(name);
    }
    const opaque = !isRoot && random.chance(12) ? (upper || random.chance(50) ? 'y' : '.wh.') : '';
    return {
      kind: 'dir',
      size: 0,
      opaque: xmarked && opaque === 'y' ? '' : opaque,
      children,
      dotHidden,
    };
  };
  return { root: makeDir(0, true), upper, xmarked };
}

const leaf = (kind: Node['kind'], number: number): Node => ({
  kind,
  size: kind === 'xwhiteout' ? 0 : number + 1,
  opaque: '',
  children: new Map(),
  dotHidden: new Set(),
});

/** The layer as entries to build; its root's own mark is `rootMark`. */
export function entriesOf(layer: Layer): Entry[] {
  const entries: Entry[] = [];
  const add = (node: Node, path: string): void => {
    for (const [name, child] of node.children) {
      const full = path + name;
      entries.push(entryOf(child, full, layer.xmarked));
      if (child.kind === 'dir') {
        if (child.opaque === '.wh.') entries.push(whOpaque(full));
        add(child, `${full}/`);
      }
    }
    for (const name of node.dotHidden) entries.push(whFile(path + name));
  };
  add(layer.root, '');
  return entries;
}

function entryOf(node: Node, path: string, xmarked: boolean): Entry {
  switch (node.kind) {
    case 'file':
      return file(path, 'x'.repeat(node.size));
    case 'symlink':
      return symlink(path, 'x'.repeat(node.size));
    case 'whiteout':
      return whiteout(path);
    case 'xwhiteout':
      return file(path, '', { xattrs: { 'trusted.overlay.whiteout': '' } });
    case 'dir': {
      const mark = node.opaque === 'y' ? 'y' : xmarked ? 'x' : '';
      return dir(path, mark === '' ? {} : { xattrs: { 'trusted.overlay.opaque': mark } });
    }
  }
}

/** What a name of the union is. A directory has the layers that are merged in it, topmost first. */
export interface Seen {
  readonly kind: 'file' | 'symlink' | 'dir';
  readonly size: number;
  readonly parts: readonly Part[];
}

export interface Part {
  readonly layer: number;
  readonly node: Node;
}

/** The rules of lookup, layer by layer. */
export function see(parts: readonly Part[], name: string): Seen | undefined {
  const found: Part[] = [];
  for (const { layer, node } of parts) {
    const child = node.children.get(name);
    if (child?.kind === 'whiteout' || child?.kind === 'xwhiteout') break;
    if (child !== undefined && child.kind !== 'dir') {
      if (found.length === 0) return { kind: child.kind, size: child.size, parts: [] };
      break;
    }
    if (child !== undefined) found.push({ layer, node: child });
    if (child !== undefined && child.opaque !== '') break;
    if (node.dotHidden.has(name)) break;
  }
  return found.length === 0 ? undefined : { kind: 'dir', size: 0, parts: found };
}
