/** `build`: a Dockerfile becomes an image. Stages run at the same time where they do not wait for each other. */
import { availableParallelism } from 'node:os';
import type { PackOptions } from '../../archive/types.js';
import { UserError } from '../../base/errno.js';
import { withLease } from '../collect/work.js';
import type { Digest } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { baseImage } from './baseImage.js';
import { type Context, openContext } from './context.js';
import { exportImage } from './export.js';
import type { BuildOptions } from './options.js';
import { parseDockerfile, wrongAt } from './parse/dockerfile.js';
import type { Base, BuildScope, StageResult } from './scope.js';
import { SourceTree } from './sourceTree.js';
import { StageRun } from './stageRun.js';
import { endPlace, buildPlace, endStaleBuilds } from './stale.js';
import { findStage, type Plan, planStages, type Stage } from './stages.js';
import { Trees } from './trees.js';

/** One build under way. */
class Build implements BuildScope {
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
  /** Numbers of the stages that are built. */
  readonly needed = new Set<number>();
  /** Build arguments that some ARG has asked for. */
  readonly consumed = new Set<string>();
  readonly #results = new Map<number, Promise<StageResult>>();
  readonly #waiting: (() => void)[] = [];
  #free = Math.max(2, availableParallelism());
  #contextTree: SourceTree | undefined;

  constructor(store: Store, lease: Lease, options: BuildOptions, context: Context) {
    this.store = store;
    this.lease = lease;
    this.options = options;
    this.context = context;
    const file = parseDockerfile(context.dockerfile, context.name);
    this.plan = planStages(file, options);
    this.trees = new Trees(store, lease);
    this.epoch = epochOf(options);
    this.created = new Date(
      this.epoch === undefined ? Date.now() : this.epoch * 1000,
    ).toISOString();
  }

  get packOptions(): PackOptions {
    return {
      style: 'full',
      ...(this.epoch === undefined ? {} : { sourceDateEpoch: this.epoch }),
      signal: this.options.signal,
    };
  }

  async close(): Promise<void> {
    // What still runs has been told to end; nothing is taken from under it.
    await Promise.allSettled(this.#results.values());
    this.#contextTree?.close();
    await this.trees.close();
  }

  /** The stage to build. Throws UserError. */
  target(): Stage {
    const { target } = this.options;
    const { stages } = this.plan;
    if (target === undefined) return stages[stages.length - 1];
    const found = findStage(stages, target);
    if (!found) throw new UserError(`target stage ${target} could not be found`);
    return found;
  }

  /** Built once, whoever waits for it. */
  stage(index: number): Promise<StageResult> {
    const known = this.#results.get(index);
    if (known) return known;
    this.needed.add(index);
    const result = this.#stage(this.plan.stages[index]);
    // Whoever waits gets the failure; nobody may.
    result.catch(() => undefined);
    this.#results.set(index, result);
    return result;
  }

  async #stage(stage: Stage): Promise<StageResult> {
    // Those it copies from begin at once.
    for (const name of sourcesOf(this, stage)) {
      const other = findStage(this.plan.stages.slice(0, stage.index), name);
      if (other) void this.stage(other.index);
    }
    const base = await this.#base(stage);
    return new StageRun(this, stage, base).run();
  }

  async #base(stage: Stage): Promise<Base> {
    if (stage.on !== undefined) {
      const { base, created, config, author, history, layers } = await this.stage(stage.on);
      const { architecture, os, variant, rootfs } = base.config;
      const more = {
        ...(variant === undefined ? {} : { variant }),
        ...(author === undefined ? {} : { author }),
      };
      return {
        id: base.id,
        config: { architecture, os, rootfs, created, config, history, ...more },
        layers,
      };
    }
    try {
      return await baseImage(this, stage.from, stage.platform);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      throw wrongAt(stage.at, error.message, { cause: error });
    }
  }

  async layersOf(from: string, before: number): Promise<readonly Digest[]> {
    const stage = findStage(this.plan.stages.slice(0, before), from);
    if (stage) return (await this.stage(stage.index)).layers;
    return (await baseImage(this, from, undefined)).layers;
  }

  contextTree(): SourceTree {
    const { path, ignored } = this.context;
    this.#contextTree ??= new SourceTree(path, 'the context', ignored);
    return this.#contextTree;
  }

  /** As many RUNs at a time as there are processors. */
  async running<T>(act: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await act();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

/** What the flags of a stage's instructions name with `from=`. */
function sourcesOf(build: Build, { instructions }: Stage): string[] {
  const { plan, options } = build;
  const variables = new Map([...plan.globals, ...options.buildArgs]);
  return instructions.flatMap(({ flags }) =>
    flags.flatMap(({ name, value = '' }) => {
      const said = name === 'mount' ? /(?:^|,)from=([^,]+)/.exec(value)?.[1] : value;
      if ((name !== 'mount' && name !== 'from') || said === undefined) return [];
      // One with a variable of the stage's begins when the stage asks for it.
      return [said.replace(/^\$\{?(\w+)\}?$/, (all, key: string) => variables.get(key) ?? all)];
    }),
  );
}

function epochOf({ buildArgs }: BuildOptions): number | undefined {
  const text = buildArgs.get('SOURCE_DATE_EPOCH') ?? process.env['SOURCE_DATE_EPOCH'] ?? '';
  if (text === '') return undefined;
  if (!/^\d{1,11}$/.test(text)) throw new UserError('SOURCE_DATE_EPOCH is not a number of seconds');
  return Number(text);
}

/** Builds, tags, and resolves with the image's ID. Throws UserError. */
export async function buildImage(store: Store, options: BuildOptions): Promise<Digest> {
  await endStaleBuilds(store);
  return withLease(store, async (lease) => {
    const reading = options.progress.begin('[internal] load build definition and context');
    let build: Build;
    try {
      build = new Build(store, lease, options, await openContext(lease, options.input));
      reading.done();
    } catch (error) {
      reading.failed(error instanceof Error ? error.message : String(error));
      throw error;
    }
    try {
      const target = build.target();
      const result = await build.stage(target.index);
      const id = await exportImage(build, result);
      const unused = [...options.buildArgs.keys()].filter(
        (name) => !build.consumed.has(name) && !build.plan.globals.has(name) && !isPredefined(name),
      );
      if (unused.length > 0) {
        options.progress.warn(`One or more build-args [${unused.join(' ')}] were not consumed`);
      }
      return id;
    } finally {
      await build.close();
      await endPlace(store, buildPlace(store, lease));
    }
  });
}

const isPredefined = (name: string): boolean =>
  /^((HTTPS?|FTP|NO|ALL)_PROXY|SOURCE_DATE_EPOCH)$/i.test(name);
