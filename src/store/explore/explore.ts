/** Reads a stack of layers into a model of what each gives, hides and wastes. */
import { E, errnoText, UserError } from '../../base/errno.js';
import { display } from '../../base/bytes.js';
import { Stack } from '../../archive/stack.js';
import { Changes } from '../../archive/changes.js';
import type { Item } from '../../archive/walk.js';
import type { Stat } from '../../sys/stat.js';
import { Sys } from '../../sys/sys.js';
import { kindOf } from './kinds.js';
import { type Data, type Hidden, type LayerChange, Model, type Node } from './model.js';
import type { LayerSource, Subject } from './subject.js';

export interface ExploredLayer extends LayerSource {
  /** From 1, the bottom one. */
  readonly number: number;
  /** Of the files that lie in it. */
  readonly bytes: number;
  /** Of these, what no name shows any more. */
  readonly wasted: number;
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
  readonly changes: readonly LayerChange[];
}

interface Waste {
  /** A name that the bytes had. */
  readonly path: string;
  readonly bytes: number;
  readonly layer: number;
  readonly by: number;
  readonly how: Hidden['how'];
}

export interface Explored {
  readonly name: string;
  /** The bottom one first. */
  readonly layers: readonly ExploredLayer[];
  readonly root: Node;
  /** The largest first. */
  readonly wastes: readonly Waste[];
  /** Every file that some layer adds or changes, the largest first. */
  readonly largest: readonly LargeChange[];
  /** Of all layers. */
  readonly bytes: number;
  readonly wasted: number;
}

interface LargeChange {
  readonly layer: number;
  readonly kind: 'A' | 'C';
  readonly path: string;
  readonly bytes: number;
}

/** How many changes `largest` lists. */
const LARGEST = 1000;

/** Reads all layers. Throws UserError for a layer that cannot be read. */
export function explore(subject: Subject): Explored {
  const reader = new Reader(subject);
  reader.read();
  return reader.result();
}

class Reader {
  readonly #subject: Subject;
  readonly #sys = new Sys();
  readonly #model = new Model();
  readonly #stat: Stat;
  /** By device and inode number: a file keeps its data however it is named. */
  readonly #data = new Map<string, Data>();

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#stat = this.#sys.stats.source;
  }

  read(): void {
    const { layers, dataLayers, userxattr } = this.#subject;
    const topFirst = layers.map(({ path }) => path).reverse();
    for (let number = 1; number <= layers.length; number++) {
      const stack = new Stack(this.#sys, topFirst.slice(-number), dataLayers, userxattr);
      try {
        this.#model.begin();
        for (const item of new Changes(stack, false).all()) this.#item(item, number);
        this.#model.end();
      } finally {
        stack.close();
      }
    }
  }

  #item(item: Item, number: number): void {
    if (item.kind === 'whiteout') this.#model.whiteout(item.path);
    else if (item.kind === 'opaque') this.#model.opaque(item.path);
    else this.#object(item, number);
  }

  #object(item: Item, number: number): void {
    const stat = this.#stat;
    if (item.same) stat.load(item.same.stat);
    else {
      const code = this.#sys.statName(item.dir, item.name, stat);
      // Removed meanwhile, in the upper of a live mount.
      if (code === -E.ENOENT) return;
      if (code < 0) throw unreadable(item.path, code);
    }
    const kind = kindOf(stat.mode);
    const data = kind === 'file' ? this.#dataOf(item, number) : undefined;
    this.#model.object(item.path, kind, data);
  }

  /** `#stat` is the file's. */
  #dataOf(item: Item, number: number): Data {
    const stat = this.#stat;
    const { size } = stat;
    let layer = number - item.layer;
    if (item.data) {
      const code = this.#sys.statName(item.data.dir, item.data.name, stat);
      if (code < 0) throw unreadable(item.path, code);
      layer = item.data.layer < 0 ? 0 : number - item.data.layer;
    }
    const key = `${stat.dev}:${stat.inoHi}:${stat.inoLo}`;
    const known = this.#data.get(key);
    if (known) return known;
    const data: Data = { layer, size, names: 0 };
    this.#data.set(key, data);
    return data;
  }

  result(): Explored {
    const { name, layers } = this.#subject;
    const { root, changes } = this.#model;
    const bytes = new Array<number>(layers.length + 1).fill(0);
    const wasted = new Array<number>(layers.length + 1).fill(0);
    for (const { layer, size, names } of this.#data.values()) {
      bytes[layer] += size;
      if (names === 0) wasted[layer] += size;
    }
    const count = (at: number, kind: string): number =>
      changes[at].filter((each) => each.kind === kind).length;
    return {
      name,
      root,
      layers: layers.map((source, at) => ({
        ...source,
        number: at + 1,
        bytes: bytes[at + 1],
        wasted: wasted[at + 1],
        added: count(at, 'A'),
        changed: count(at, 'C'),
        removed: count(at, 'D'),
        changes: changes[at],
      })),
      wastes: wastesOf(this.#model.hidden),
      largest: largestOf(changes),
      bytes: sum(bytes),
      wasted: sum(wasted),
    };
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Hidden names whose bytes no other name shows; each file once, by the name that went last. */
function wastesOf(hidden: readonly Hidden[]): Waste[] {
  const last = new Map<Data, Hidden>();
  for (const each of hidden) if (each.data.names === 0) last.set(each.data, each);
  return [...last.values()]
    .map(({ path, data, by, how }) => ({ path, bytes: data.size, layer: data.layer, by, how }))
    .sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1));
}

function largestOf(changes: readonly (readonly LayerChange[])[]): LargeChange[] {
  const files = changes.flatMap((list, at) =>
    list.flatMap(({ kind, path, file, bytes }) =>
      kind === 'D' || file !== 'file' || bytes === 0 ? [] : [{ layer: at + 1, kind, path, bytes }],
    ),
  );
  return files.sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1)).slice(0, LARGEST);
}

const unreadable = (path: string, code: number): UserError =>
  new UserError(`cannot read ${JSON.stringify(display(path))} of a layer: ${errnoText(code)}`);
