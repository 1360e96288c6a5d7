/** Random layers over a small pool of names, so that layers and operations meet on the same paths. */
import {
  type Attributes,
  type Entry,
  device,
  dir,
  fifo,
  file,
  hardlink,
  opaque,
  symlink,
  whiteout,
} from '../support/tree.js';
import type { Random } from './random.js';

export interface Layers {
  /** Topmost first. */
  readonly lowers: readonly (readonly Entry[])[];
  readonly upper: readonly Entry[];
  /** What is seen at first: path → is a directory. */
  readonly seen: ReadonlyMap<string, boolean>;
  /** False when link counts are not to be compared. */
  readonly countLinks: boolean;
  /** Directories whose redirect leads to nothing. */
  readonly lost?: readonly string[];
}

const DIR_NAMES = ['a', 'b', 'c'];
/** Ordinary names, one that is no UTF-8, one with a newline and a backslash, and one of 255 bytes. */
const LEAF_NAMES = ['f', 'g', 'h', 'i', '\xff\xfe\x80', 'new\nline\\ "', 'n'.repeat(255)];
export const OWNERS = [0, 1, 1000, 65534];
export const MODES = [0o644, 0o600, 0o755, 0o444, 0o666, 0o4755, 0o2750, 0o1777, 0o000];

/** Relative only, and at most one level up: a link never leads outside the test's directory. */
export const LINK_TARGETS = [
  'f',
  'g',
  'a',
  'a/f',
  '../f',
  'b/../c',
  'nowhere',
  '\xfe',
  'x'.repeat(200),
];

export function somePath(random: Random): string {
  const depth = random.weighted([
    [30, 0],
    [45, 1],
    [25, 2],
  ] as const);
  const parts = Array.from({ length: depth }, () => random.pick(DIR_NAMES));
  const last = random.chance(45) ? random.pick(DIR_NAMES) : random.pick(LEAF_NAMES);
  return [...parts, last].join('/');
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function someAttributes(random: Random): Attributes {
  return {
    mode: random.pick(MODES),
    uid: random.pick(OWNERS),
    gid: random.pick(OWNERS),
    mtime: [random.pick([1, 1_000_000_000, 1_500_000_000]), random.below(1_000_000_000)],
    ...(random.chance(25) ? { xattrs: someXattrs(random) } : {}),
  };
}

function someXattrs(random: Random): Record<string, string> {
  const all: Record<string, string> = {
    'user.one': 'value\0with zero',
    'trusted.two': 'x'.repeat(random.below(300)),
    'user.empty': '',
  };
  return Object.fromEntries(Object.entries(all).filter(() => random.chance(50)));
}

function withoutUserXattrs(attributes: Attributes): Attributes {
  const { xattrs, ...rest } = attributes;
  const trusted = Object.entries(xattrs ?? {}).filter(([name]) => !name.startsWith('user.'));
  return trusted.length === 0 ? rest : { ...rest, xattrs: Object.fromEntries(trusted) };
}

function someFile(random: Random, path: string): Entry {
  const attributes = someAttributes(random);
  const seed = random.below(1000);
  switch (random.below(4)) {
    case 0:
      return file(path, '', attributes);
    case 1:
      return file(path, { size: 1 + random.below(9000), seed }, attributes);
    case 2:
      return file(
        path,
        { size: 1 + random.below(5000), seed, hole: 4096 * (1 + random.below(8)) },
        attributes,
      );
    default:
      return file(path, `text ${seed}`, attributes);
  }
}

type Kind = 'file' | 'dir' | 'opaque' | 'symlink' | 'fifo' | 'device' | 'link' | 'whiteout';
const KINDS: readonly (readonly [number, Kind])[] = [
  [38, 'file'],
  [24, 'dir'],
  [6, 'opaque'],
  [8, 'symlink'],
  [3, 'fifo'],
  [3, 'device'],
  [8, 'link'],
  [10, 'whiteout'],
];

const LINKS = { none: 0, broken: 8, kept: 25 };

/**
 * One layer over what lower layers show (`below`: path → is a directory). A whiteout stands only
 * where it hides something: kernel overlayfs lists one that hides nothing in a directory that is
 * not merged, which no tool's layers have.
 */
class LayerBuilder {
  readonly entries: Entry[] = [];
  private readonly own = new Map<string, Kind>();
  private readonly random: Random;
  private readonly below: ReadonlyMap<string, boolean>;

  constructor(random: Random, below: ReadonlyMap<string, boolean>) {
    this.random = random;
    this.below = below;
  }

  /** Makes the parents of a path; false when one of them is something else here. */
  private parents(path: string): boolean {
    const parent = parentOf(path);
    if (parent === '') return true;
    const kind = this.own.get(parent);
    if (kind !== undefined) return kind === 'dir' || kind === 'opaque';
    if (!this.parents(parent)) return false;
    this.own.set(parent, 'dir');
    this.entries.push(dir(parent, this.dirAttributes()));
    return true;
  }

  private dirAttributes(): Attributes {
    return {
      ...someAttributes(this.random),
      mode: this.random.pick([0o755, 0o777, 0o700, 0o1777, 0o2775]),
    };
  }

  private hidden(path: string): boolean {
    for (let at = parentOf(path); at !== ''; at = parentOf(at))
      if (this.own.get(at) === 'opaque') return true;
    return !this.below.has(path) || !this.mergedParents(path);
  }

  private mergedParents(path: string): boolean {
    for (let at = parentOf(path); at !== ''; at = parentOf(at))
      if (this.below.get(at) !== true) return false;
    return true;
  }

  add(path: string, kind: Kind): void {
    if (this.own.has(path) || (kind === 'whiteout' && this.hidden(path)) || !this.parents(path))
      return;
    const entry = this.make(path, kind);
    if (entry === undefined) return;
    this.own.set(path, kind);
    this.entries.push(entry);
  }

  private make(path: string, kind: Kind): Entry | undefined {
    switch (kind) {
      case 'file':
        return someFile(this.random, path);
      case 'dir':
        return dir(path, this.dirAttributes());
      case 'opaque':
        return opaque(path, this.dirAttributes());
      case 'symlink': {
        const { uid = 0, gid = 0, mtime = [1, 1] } = someAttributes(this.random);
        return symlink(path, this.random.pick(LINK_TARGETS), { uid, gid, mtime });
      }
      case 'fifo':
        return fifo(path, withoutUserXattrs(someAttributes(this.random)));
      case 'device':
        return device(
          path,
          1,
          this.random.pick([3, 5]),
          withoutUserXattrs(someAttributes(this.random)),
        );
      case 'link': {
        const files = this.entries.filter((entry) => entry.kind === 'file');
        return files.length === 0 ? undefined : hardlink(path, this.random.pick(files).path);
      }
      case 'whiteout':
        return whiteout(path);
    }
  }

  /** What is seen when this layer lies on `below`. */
  merged(): Map<string, boolean> {
    const seen = new Map<string, boolean>();
    for (const [path, isDir] of this.below) if (!this.covers(path)) seen.set(path, isDir);
    for (const [path, kind] of this.own)
      if (kind !== 'whiteout') seen.set(path, kind === 'dir' || kind === 'opaque');
    return seen;
  }

  private covers(path: string): boolean {
    if (this.own.has(path)) return true;
    for (let at = parentOf(path); at !== ''; at = parentOf(at)) {
      const kind = this.own.get(at);
      if (kind !== undefined && kind !== 'dir') return true;
    }
    return false;
  }
}

function someLayer(
  random: Random,
  kinds: readonly (readonly [number, Kind])[],
  below: ReadonlyMap<string, boolean>,
  names: number,
): [Entry[], Map<string, boolean>] {
  const layer = new LayerBuilder(random, below);
  for (let i = 0; i < names; i++) layer.add(somePath(random), random.weighted(kinds));
  return [layer.entries, layer.merged()];
}

/**
 * Three lowers and an upper. Without the index, hard links within a layer break when kernel overlayfs
 * copies one of them up, at open already: where they are `broken`, link counts are not compared.
 */
export function someLayers(random: Random, links: 'none' | 'broken' | 'kept'): Layers {
  let below: Map<string, boolean> = new Map();
  const built: Entry[][] = [];
  const kinds = KINDS.map(
    ([weight, kind]) => [kind === 'link' ? LINKS[links] : weight, kind] as const,
  );
  for (let i = 0; i < 4; i++) {
    const names = i < 3 ? 8 + random.below(12) : random.below(8);
    const [entries, merged] = someLayer(random, kinds, below, names);
    built.unshift(entries);
    below = merged;
  }
  const [upper = [], ...lowers] = built;
  return { lowers, upper, seen: below, countLinks: links !== 'broken' };
}
