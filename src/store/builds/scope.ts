/** What the steps of a build know of it, and of the stage that they stand in. */
import type { PackOptions } from '../../archive/types.js';
import type { HistoryEntry, ImageConfig, RunConfig } from '../content/documents.js';
import type { LayerRecord } from '../layers/records.js';
import type { Digest } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import type { Context } from './context.js';
import type { BuildOptions } from './options.js';
import type { Variables } from './parse/words.js';
import type { Vertex } from './progress.js';
import type { Settings } from './settings.js';
import type { SourceTree } from './sourceTree.js';
import type { Plan } from './stages.js';
import type { Trees } from './trees.js';

/** What a stage lies on. */
export interface Base {
  /** Of the image; undefined for `scratch`, and for a stage its base's. */
  readonly id: Digest | undefined;
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly layers: readonly Digest[];
}

export interface StageResult {
  readonly base: Base;
  /** When the last layer was made; RFC 3339. */
  readonly created: string;
  readonly config: RunConfig;
  readonly author: string | undefined;
  readonly history: readonly HistoryEntry[];
  readonly layers: readonly Digest[];
}

export interface BuildScope {
  readonly store: Store;
  readonly lease: Lease;
  readonly options: BuildOptions;
  readonly context: Context;
  readonly plan: Plan;
  readonly trees: Trees;
  /** Seconds of SOURCE_DATE_EPOCH. */
  readonly epoch: number | undefined;
  /** RFC 3339. */
  readonly created: string;
  /** Build arguments that some ARG has asked for. */
  readonly consumed: Set<string>;
  readonly packOptions: PackOptions;
  contextTree(): SourceTree;
  /** Diff ids of a stage before number `before`, or of an image; bottom first. */
  layersOf(from: string, before: number): Promise<readonly Digest[]>;
  /** As many RUNs at a time as there are processors. */
  running<T>(act: () => Promise<T>): Promise<T>;
}

/** What makes a step's layer. */
export type MakeLayer = (vertex: Vertex) => Promise<LayerRecord>;

export interface StageScope {
  readonly build: BuildScope;
  readonly index: number;
  readonly settings: Settings;
  readonly escape: string;
  /** Diff ids, bottom first. */
  readonly layers: readonly Digest[];
  /** ARGs that are declared, with their values. */
  readonly args: Variables;
  /** Directories of the layers so far, top first; latin1. */
  readonly trees: string[];
  /** What instructions are expanded with: ENV wins over ARG. */
  readonly variables: Variables;
  environment(): Map<string, string>;
  proxies(): Map<string, string>;
  expand(text: string): string;
  /** A line of the image's history. */
  note(what: string, empty: boolean): void;
  /** The name of the next step. */
  nextStep(what: string): string;
  /**
   * A step that writes a layer: taken from the cache, where it was made of the same before, or made.
   * `independent`: what it writes does not depend on the layers below.
   */
  step(
    name: string,
    what: readonly unknown[],
    make: MakeLayer,
    independent?: boolean,
  ): Promise<void>;
}
