/**
 * One system call fails while layers are opened: of a mount, of a remount over an upper with history, of a
 * read-only mount of that upper, and of `stratafs diff`. A mount is refused with a sentence, and the upper is
 * as it was; or it shows the right tree, and changes it rightly. A diff says why not, or is the right list.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packLayer } from '../../src/archive/pack.js';
import { E, UserError } from '../../src/base/errno.js';
import { diffUpper } from '../../src/diff/diff.js';
import { RENAME_EXCHANGE } from '../../src/sys/constants.js';
import { Sys } from '../../src/sys/sys.js';
import type { Bed } from './bed.js';
import { canFail, ERRORS, type ErrorName, Injector, type Made } from './inject.js';
import { Failed, type Kernel } from './kernel.js';
import { LOWERS, type Step } from './operations.js';
import { differences, type Tree, treeOfEngine } from './snapshot.js';

export const OPENINGS = ['mount', 'remount', 'read-only', 'diff', 'bare diff', 'tar'] as const;
export type Opening = (typeof OPENINGS)[number];

/** Makes a history: copies, moves, links and removals of each kind. What a configuration refuses is left out. */
const HISTORY: readonly Step[] = [
  (k) => {
    k.write('h/a/l1', 0, 'LINKED');
  },
  (k) => {
    k.setattr('d/f1', { mode: 0o600 });
  },
  (k) => {
    k.rename('d/f1', 'h/f9');
  },
  (k) => {
    k.rename('d/s', 'm/s9');
  },
  (k) => {
    k.rename('full', 'mo', RENAME_EXCHANGE);
  },
  (k) => {
    k.link('uf', 'u/uf3');
  },
  (k) => {
    k.unlink('h/b/l2');
  },
  (k) => {
    k.setattr('d/big', { uid: 7, gid: 8 });
  },
];

/** Changes after a mount: whoever has misread what is there does them wrongly. */
const CHANGES: readonly Step[] = [
  (k) => {
    k.write('h/l3', 0, 'third name');
  },
  (k) => {
    k.write('h/f9', 2, 'moved');
  },
  (k) => {
    k.unlink('d/f2');
  },
  (k) => {
    k.mkdir('gd');
  },
  (k) => {
    k.create('gone', 0o644);
  },
  (k) => {
    k.rename('only', 'd/only');
  },
  (k) => {
    k.rename('uf', 't1');
  },
];

/** Does what can be done. */
function doAll(k: Kernel, steps: readonly Step[]): void {
  for (const step of steps) {
    try {
      step(k);
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      if (![E.ENOENT, E.EXDEV, E.EPERM].includes(error.errno)) throw error;
    }
  }
}

export interface OpeningCase {
  readonly opening: Opening;
  readonly call: number;
  readonly made: Made;
  readonly error: ErrorName;
}

/** What comes of opening when nothing fails. */
interface Right {
  readonly calls: readonly Made[];
  /** The tree that a mount shows, and after the changes; of a diff its list. */
  readonly tree: Tree;
  readonly changed: Tree;
}

export class OpeningSweep {
  readonly #bed: Bed;
  readonly #injector: Injector;
  readonly #right = new Map<Opening, Right>();

  constructor(bed: Bed) {
    this.#bed = bed;
    this.#injector = new Injector(bed.config.noDevices);
  }

  /** Runs it without a failure; "" when that is as it should be. */
  async learn(opening: Opening): Promise<string> {
    this.#prepare(opening);
    this.#injector.arm(0, 0);
    const opened = await this.#open(opening);
    const calls = this.#injector.disarm();
    if (opened instanceof Error) return `it fails without a failure: ${opened.message}`;
    const tree = this.#treeOf(opened);
    const changed = this.#change(opening, opened);
    this.#right.set(opening, { calls, tree, changed });
    return changed === tree ? '' : this.#judge(changed);
  }

  *cases(opening: Opening): Generator<OpeningCase> {
    for (const [i, made] of this.#rightOf(opening).calls.entries()) {
      for (const error of Object.keys(ERRORS) as ErrorName[]) {
        if (canFail(made, error)) yield { opening, call: i + 1, made, error };
      }
    }
  }

  #rightOf(opening: Opening): Right {
    const right = this.#right.get(opening);
    if (!right) throw new Error(`${opening} was not learned`);
    return right;
  }

  /** "" when all is as it must be; else what is not. */
  async check({ opening, call, made, error }: OpeningCase): Promise<string> {
    const right = this.#rightOf(opening);
    this.#prepare(opening);
    const before = this.#bed.upper(opening === 'mount');
    const descriptors = readdirSync('/proc/self/fd').length;
    this.#injector.arm(call, ERRORS[error]);
    const opened = await this.#open(opening);
    this.#injector.disarm();
    const { fired } = this.#injector;
    if (fired?.call !== made.call)
      throw new Error(`call ${call} is ${fired?.call ?? 'not made'} now`);
    if (!(opened instanceof Error)) return prefix('ok', this.#proceed(opening, opened, right));
    if (!(opened instanceof UserError)) return `it fails with no sentence: ${opened.message}`;
    const left = readdirSync('/proc/self/fd').length - descriptors;
    if (left > 0) return `it is refused, and ${left} descriptors stay open`;
    const after = this.#bed.upper(opening === 'mount');
    if (after !== before) return 'it is refused, and the upper has changed';
    const again = await this.#open(opening);
    if (again instanceof Error) return `it is refused, and so is the next: ${again.message}`;
    return prefix('refused, then mounted', this.#proceed(opening, again, right));
  }

  /** An upper as the opening is to find it. */
  #prepare(opening: Opening): void {
    if (opening === 'mount') {
      this.#bed.clear();
      return;
    }
    const kernel = this.#bed.fresh(this.#injector, 'cold');
    doAll(kernel, HISTORY);
    kernel.engine.end();
    // What a host that was killed leaves.
    const work = join(this.#bed.top, 'work/work');
    mkdirSync(join(work, '#7/in/deep'), { recursive: true });
    writeFileSync(join(work, '#7/in/file'), 'left');
    writeFileSync(join(work, '#8'), 'left');
  }

  /** A mount, the list of a diff, or why there is none. */
  async #open(opening: Opening): Promise<Kernel | Tree | Error> {
    try {
      if (opening === 'mount' || opening === 'remount')
        return this.#bed.mount(this.#injector, 'cold');
      if (opening === 'read-only') return this.#bed.mount(this.#injector, 'cold', true);
      const sys = new Sys(this.#injector.native);
      return opening === 'tar' ? await this.#tar(sys) : this.#diff(sys, opening === 'diff');
    } catch (error) {
      return error as Error;
    }
  }

  #diff(sys: Sys, lowers: boolean): Tree {
    const changes = diffUpper(join(this.#bed.top, 'upper'), lowers ? this.#lowers() : [], [], sys);
    return new Map(changes.map(({ kind, path, size }) => [path, `${kind} ${size ?? '-'}`]));
  }

  /** The archive of `diff --tar`, in one word; but the times, which are those of the case. */
  async #tar(sys: Sys): Promise<Tree> {
    const hash = createHash('sha1');
    const source = { upper: join(this.#bed.top, 'upper'), lowers: this.#lowers() };
    const take = (bytes: Uint8Array): void => {
      hash.update(bytes);
    };
    const { userxattr } = this.#bed.config.spec;
    const options = { sourceDateEpoch: 0 };
    await packLayer(
      { kind: 'changes', ...source, ...(userxattr ? { userxattr } : {}) },
      take,
      options,
      sys,
    );
    return new Map([['archive', hash.digest('hex')]]);
  }

  #lowers(): string[] {
    return LOWERS.map((_, i) => join(this.#bed.top, `lower${i}`));
  }

  #treeOf = (opened: Kernel | Tree): Tree =>
    opened instanceof Map ? opened : treeOfEngine(opened as Kernel);

  /** Does the changes, and ends the mount. */
  #change(opening: Opening, opened: Kernel | Tree): Tree {
    if (opened instanceof Map) return opened;
    const kernel = opened as Kernel;
    if (opening !== 'read-only') doAll(kernel, CHANGES);
    const tree = treeOfEngine(kernel);
    kernel.engine.end();
    return tree;
  }

  #proceed(opening: Opening, opened: Kernel | Tree, right: Right): string {
    try {
      const tree = this.#treeOf(opened);
      const shown = explain(right.tree, tree, 'it shows');
      if (shown !== '' || opened instanceof Map) return shown;
      const changed = this.#change(opening, opened);
      const wrong = explain(right.changed, changed, 'after changes');
      return wrong !== '' || opening === 'read-only' ? wrong : this.#judge(right.changed);
    } catch (error) {
      if (error instanceof Failed) return `a look at the tree fails: ${error.message}`;
      if (error instanceof UserError) return `the next mount says: ${error.message}`;
      throw error;
    } finally {
      if (!(opened instanceof Map) && (opened as Kernel).engine.isOpen)
        (opened as Kernel).engine.end();
    }
  }

  /** The disk, mounted again and by kernel overlayfs. */
  #judge(wanted: Tree): string {
    const kernel = this.#bed.mount(this.#injector, 'cold');
    const remounted = treeOfEngine(kernel);
    kernel.engine.end();
    const wrong = explain(wanted, remounted, 'remount');
    if (wrong !== '') return wrong;
    return explain(wanted, this.#bed.kernelTree(this.#bed.disk()), 'kernel overlayfs');
  }

  /** Removes what the last case has left. */
  end(): void {
    for (const name of ['upper', 'work'])
      rmSync(join(this.#bed.top, name), { recursive: true, force: true });
  }
}

const prefix = (what: string, wrong: string): string =>
  wrong === '' ? '' : `${what}, and ${wrong}`;

function explain(wanted: Tree, found: Tree, where: string): string {
  const lines = differences(wanted, found);
  return lines.length === 0 ? '' : `${where}: ${lines.slice(0, 5).join('; ')}`;
}
