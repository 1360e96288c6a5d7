/** One stage: its instructions, one after the other, each on the layers before it. */
import { UserError } from '../../base/errno.js';
import type { HistoryEntry } from '../content/documents.js';
import { treesOf } from '../layers/stack.js';
import type { Digest } from '../state/ids.js';
import type { Base, BuildScope, MakeLayer, StageResult, StageScope } from './scope.js';
import { cachedStep, remember, stepKey } from './cache.js';
import { copyStep } from './copyStep.js';
import { type Instruction, parseDockerfile, PlacedError, wrongAt } from './parse/dockerfile.js';
import { expand, type Variables } from './parse/words.js';
import { runInstruction } from './runStep.js';
import { applySetting, type Settings } from './settings.js';
import { argWords, platformArgs, type Stage } from './stages.js';
import { workdirStep } from './workdirStep.js';

/** Those that may write a layer: BuildKit counts them, with FROM. */
const STEPS = ['RUN', 'COPY', 'ADD', 'WORKDIR'];

/** Build arguments that need no ARG (docs: "Predefined ARGs"). */
const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'];

/** What `StageRun` needs of a build besides what its steps do. */
interface StageBuild extends BuildScope {
  readonly needed: ReadonlySet<number>;
}

export class StageRun implements StageScope {
  readonly build: StageBuild;
  readonly stage: Stage;
  readonly index: number;
  readonly settings: Settings;
  readonly escape: string;
  /** Diff ids, bottom first. */
  readonly layers: Digest[];
  /** ARGs that are declared, with their values. */
  readonly args = new Map<string, string>();
  readonly #history: HistoryEntry[];
  readonly #base: Base;
  readonly #total: number;
  #count = 1;
  /** When the last layer was made: the same steps from the cache are the same image. */
  #now: string;

  constructor(build: StageBuild, stage: Stage, base: Base) {
    this.build = build;
    this.stage = stage;
    this.index = stage.index;
    this.escape = build.plan.escape;
    this.#base = base;
    this.#now = build.epoch === undefined ? (base.config.created ?? build.created) : build.created;
    const { OnBuild: triggers, ...config } = base.config.config ?? {};
    this.settings = { config, author: base.config.author, ownCmd: false };
    this.layers = [...base.layers];
    this.#history = [...(base.config.history ?? [])];
    this.#triggers = this.#parse(triggers ?? []);
    const all = [...this.#triggers, ...stage.instructions];
    this.#total = 1 + all.filter(({ keyword }) => STEPS.includes(keyword)).length;
  }

  readonly #triggers: readonly Instruction[];

  /** ONBUILD of the image. */
  #parse(triggers: readonly string[]): Instruction[] {
    return triggers.flatMap((text) => [
      ...parseDockerfile(text, `ONBUILD of ${this.stage.from}`).instructions,
    ]);
  }

  /** Directories of the layers so far, top first; latin1. */
  get trees(): string[] {
    return treesOf(this.build.store, this.layers);
  }

  /** Variables that instructions are expanded with: ENV wins over ARG. */
  get variables(): Variables {
    return new Map([...this.args, ...this.environment()]);
  }

  environment(): Map<string, string> {
    return new Map(
      (this.settings.config.Env ?? []).map((each) => {
        const at = each.indexOf('=');
        return at < 0 ? ([each, ''] as const) : ([each.slice(0, at), each.slice(at + 1)] as const);
      }),
    );
  }

  /** Build arguments for a RUN: declared ones, and the proxies, which are no part of what it depends on. */
  proxies(): Map<string, string> {
    const { buildArgs } = this.build.options;
    return new Map([...buildArgs].filter(([name]) => PROXIES.includes(name.toUpperCase())));
  }

  expand(text: string): string {
    return expand(text, this.variables, this.escape);
  }

  async run(): Promise<StageResult> {
    const vertex = this.build.options.progress.begin(`${this.#label()} FROM ${this.stage.from}`);
    vertex.done();
    for (const instruction of [...this.#triggers, ...this.stage.instructions]) {
      this.build.options.signal.throwIfAborted();
      try {
        await this.#instruction(instruction);
      } catch (error) {
        if (!(error instanceof UserError) || error instanceof PlacedError) throw error;
        throw wrongAt(instruction.at, error.message, { cause: error });
      }
    }
    return {
      base: this.#base,
      created: this.#now,
      config: this.settings.config,
      author: this.settings.author,
      history: this.#history,
      layers: this.layers,
    };
  }

  async #instruction(instruction: Instruction): Promise<void> {
    const { keyword, args } = instruction;
    const scope = { variables: this.variables, escape: this.escape };
    if (applySetting(this.settings, instruction, scope)) {
      this.note(`${keyword} ${args}`, true);
      return;
    }
    switch (keyword) {
      case 'ARG':
        this.#declare(instruction);
        return;
      case 'RUN':
        await runInstruction(this, instruction);
        return;
      case 'COPY':
      case 'ADD':
        await copyStep(this, instruction);
        return;
      case 'WORKDIR':
        await workdirStep(this, instruction);
        return;
      default:
        throw wrongAt(instruction.at, `${keyword} cannot stand here`);
    }
  }

  #declare(instruction: Instruction): void {
    const { options, plan } = this.build;
    const automatic = platformArgs(this.stage.platform ?? options.platform);
    for (const [name, fallback] of argWords(instruction, this.escape)) {
      this.build.consumed.add(name);
      const value =
        options.buildArgs.get(name) ??
        (fallback === undefined
          ? (plan.globals.get(name) ?? automatic.get(name))
          : this.expand(fallback));
      if (value !== undefined) this.args.set(name, value);
    }
    this.note(`ARG ${instruction.args}`, true);
  }

  /** A line of the image's history. */
  note(what: string, empty: boolean): void {
    this.#history.push({
      created: this.#now,
      created_by: what,
      ...(this.settings.author === undefined ? {} : { author: this.settings.author }),
      comment: 'stratafs build',
      ...(empty ? { empty_layer: true } : {}),
    });
  }

  #label(): string {
    const { plan, needed } = this.build;
    const { name, index } = this.stage;
    const stage =
      needed.size === 1 && plan.stages.length === 1 ? '' : `${name ?? `stage-${index}`} `;
    return `[${stage}${this.#count}/${this.#total}]`;
  }

  /** The name of the next step. */
  nextStep(what: string): string {
    this.#count++;
    return `${this.#label()} ${what}`;
  }

  /**
   * A step that writes a layer: taken from the cache, where it was made of the same before, or made.
   * `independent`: what it writes does not depend on the layers below.
   */
  async step(
    name: string,
    what: readonly unknown[],
    make: MakeLayer,
    independent = false,
  ): Promise<void> {
    const { store, lease, options, epoch } = this.build;
    const vertex = options.progress.begin(this.nextStep(name));
    try {
      const key = stepKey(independent ? [] : this.layers, [...what, epoch ?? null]);
      const known = options.cache ? await cachedStep(store, lease, key) : undefined;
      const made = known ?? { layer: await make(vertex), added: new Date().toISOString() };
      if (!known) {
        await store.locked(() => {
          remember(store, key, made, name);
        });
      }
      this.layers.push(made.layer.diffId);
      this.#now = epoch === undefined ? made.added : this.build.created;
      if (known) vertex.cached();
      else vertex.done();
    } catch (error) {
      vertex.failed(error instanceof Error ? error.message : String(error));
      throw error;
    }
  }
}
