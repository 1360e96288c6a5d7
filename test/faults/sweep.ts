/**
 * One system call fails, and what then: each operation is done again and again, and each time the next
 * of the calls that it makes fails. The answer must fit the tree, which must be the one before the step
 * that was answered with an error, or the one after the last, live, after a remount and as kernel
 * overlayfs shows it; and who tries again must get through.
 */
import { UserError } from '../../src/base/errno.js';
import { Injector, canFail, ERRORS, type ErrorName, type Made } from './inject.js';
import { type Bed, type Cache } from './bed.js';
import { Failed, type Kernel } from './kernel.js';
import type { Step } from './operations.js';
import { differences, type Tree, treeOfEngine } from './snapshot.js';

/** A call that fails in an operation. */
export interface Case {
  readonly cache: Cache;
  readonly operation: string;
  readonly steps: readonly Step[];
  /** Which call, from 1. */
  readonly call: number;
  readonly made: Made;
  readonly error: ErrorName;
  /** All calls after it fail, too: what has been begun can neither be ended nor undone. */
  readonly lasting?: true;
}

interface Failure {
  /** The step, from 0. */
  readonly at: number;
  readonly error: Failed;
}

/** What an operation does when nothing fails. */
interface Plain {
  /** The tree before the first step, and after each. */
  readonly states: readonly Tree[];
  readonly calls: readonly Made[];
  /** Its last step is always answered with this error; 0: it can be done. */
  readonly refused: number;
}

/** A remounted and kernel overlayfs's tree. */
interface Seen {
  readonly remounted: Tree;
  readonly kernel: Tree;
}

export class Sweep {
  readonly #bed: Bed;
  readonly #injector: Injector;
  readonly #plain = new Map<string, Plain>();
  /** What is seen of a disk, by what lies on it. */
  readonly #seen = new Map<string, Seen>();

  constructor(bed: Bed) {
    this.#bed = bed;
    this.#injector = new Injector(bed.config.noDevices);
  }

  /** Runs the operation without a failure. Returns what is wrong already, "" for nothing, and notes its calls. */
  learn(cache: Cache, operation: string, steps: readonly Step[]): string {
    const states: Tree[] = [];
    let refused = 0;
    let kernel = this.#bed.fresh(this.#injector, cache);
    states.push(treeOfEngine(kernel));
    kernel.engine.end();
    for (let count = 1; count <= steps.length && refused === 0; count++) {
      kernel = this.#bed.fresh(this.#injector, cache);
      const failed = this.#run(kernel, steps.slice(0, count));
      states.push(treeOfEngine(kernel));
      kernel.engine.end();
      refused = failed?.error.errno ?? 0;
      if (refused === 0) continue;
      if (this.#bed.config.refuses?.includes(refused) !== true)
        return `fails without a failure: ${failed?.error.message}`;
    }
    const disk = this.#bed.disk();
    const last = states.at(-1) ?? new Map<string, string>();
    const seen = this.#look(disk);
    kernel = this.#bed.fresh(this.#injector, cache);
    this.#injector.arm(0, 0);
    this.#run(kernel, steps);
    const calls = this.#injector.disarm();
    kernel.engine.end();
    this.#plain.set(`${cache} ${operation}`, { states, calls, refused });
    return this.#explain(
      [last, seen.remounted, 'remount'],
      [last, seen.kernel, 'kernel overlayfs'],
    );
  }

  /** All cases of an operation that was learned. */
  *cases(cache: Cache, operation: string, steps: readonly Step[]): Generator<Case> {
    const { calls } = this.#plainOf(cache, operation);
    for (const [i, made] of calls.entries()) {
      for (const error of Object.keys(ERRORS) as ErrorName[]) {
        if (canFail(made, error)) yield { cache, operation, steps, call: i + 1, made, error };
      }
    }
  }

  #plainOf(cache: Cache, operation: string): Plain {
    const plain = this.#plain.get(`${cache} ${operation}`);
    if (!plain) throw new Error(`${operation} was not learned`);
    return plain;
  }

  /** The first step that fails, and how. */
  #run(kernel: Kernel, steps: readonly Step[]): Failure | undefined {
    for (const [at, step] of steps.entries()) {
      try {
        step(kernel);
      } catch (error) {
        if (error instanceof Failed) return { at, error };
        throw error;
      }
    }
    return undefined;
  }

  /**
   * With a failure that lasts: "" when the tree is the one before the step that failed, or the one after it, and
   * the same live, after a remount and to kernel overlayfs.
   */
  #checkLasting(one: Case): string {
    const { states, refused } = this.#plainOf(one.cache, one.operation);
    const kernel = this.#bed.fresh(this.#injector, one.cache);
    try {
      const failed = this.#strike(kernel, one);
      const at = failed?.at ?? states.length - 1;
      const answer = failed === undefined ? 'ok' : `error ${failed.error.errno}`;
      const allowed = failed === undefined || refused !== 0 ? [at] : [at, at + 1];
      const live = treeOfEngine(kernel);
      const found = allowed.map((state) => this.#explain([states[state] ?? live, live, 'live']));
      kernel.engine.end();
      const fits = found.indexOf('');
      if (fits < 0) return `${answer}, and ${found[0] ?? ''}`;
      const then = this.#judge(this.#bed.disk(), states[at + fits]);
      return then === '' ? '' : `${answer}, and ${then}`;
    } catch (error) {
      if (error instanceof Failed) return `a look at the tree fails: ${error.message}`;
      if (error instanceof UserError) return `the next mount says: ${error.message}`;
      throw error;
    } finally {
      this.#injector.disarm();
      if (kernel.engine.isOpen) kernel.engine.end();
    }
  }

  /** "" when all is as it must be; else what is not. */
  check(one: Case): string {
    if (one.lasting) return this.#checkLasting(one);
    const { states, refused } = this.#plainOf(one.cache, one.operation);
    const end = states.length - 1;
    const kernel = this.#bed.fresh(this.#injector, one.cache);
    try {
      const failed = this.#strike(kernel, one);
      const at = failed?.at ?? end;
      const answer = failed === undefined ? 'ok' : `error ${failed.error.errno}`;
      if (failed === undefined && refused !== 0) return 'ok, but it cannot be done';
      const wrong = this.#compare(kernel, states[at]);
      if (wrong !== '') return `${answer}, and ${wrong}`;
      const disk = this.#bed.disk();
      if (failed !== undefined) {
        const again = this.#run(kernel, one.steps.slice(at));
        if ((again?.error.errno ?? 0) !== refused) {
          return `${answer}, and again: ${again?.error.errno ?? 'ok'}`;
        }
        const then = this.#compare(kernel, states[end]);
        if (then !== '') return `${answer}, and after a second try ${then}`;
      }
      kernel.engine.end();
      const last = failed === undefined ? '' : this.#judge(this.#bed.disk(), states[end]);
      if (last !== '') return `${answer}, and after a second try ${last}`;
      const first = this.#judgeAfresh(disk, one, states[at]);
      return first === '' ? '' : `${answer}, and ${first}`;
    } catch (error) {
      if (error instanceof Failed) return `a look at the tree fails: ${error.message}`;
      if (error instanceof UserError) return `the next mount says: ${error.message}`;
      throw error;
    } finally {
      this.#injector.disarm();
      if (kernel.engine.isOpen) kernel.engine.end();
    }
  }

  #strike(kernel: Kernel, { call, error, steps, made, lasting }: Case): Failure | undefined {
    this.#injector.arm(call, ERRORS[error], lasting);
    const failed = this.#run(kernel, steps);
    this.#injector.disarm();
    const { fired } = this.#injector;
    if (fired?.call !== made.call)
      throw new Error(`call ${call} is ${fired?.call ?? 'not made'} now`);
    return failed;
  }

  #compare(kernel: Kernel, wanted: Tree | undefined): string {
    return this.#explain([wanted ?? new Map<string, string>(), treeOfEngine(kernel), 'live']);
  }

  /** Remounts what lies there now, whose word is `disk`. */
  #look(disk: string): Seen {
    const known = this.#seen.get(disk);
    if (known) return known;
    const kernel = this.#bed.mount(this.#injector, 'cold');
    const remounted = treeOfEngine(kernel);
    kernel.engine.end();
    const seen = { remounted, kernel: this.#bed.kernelTree(disk) };
    this.#seen.set(disk, seen);
    return seen;
  }

  #judge(disk: string, wanted: Tree | undefined): string {
    const tree = wanted ?? new Map<string, string>();
    const seen = this.#look(disk);
    return this.#explain(
      [tree, seen.remounted, 'remount'],
      [tree, seen.kernel, 'kernel overlayfs'],
    );
  }

  /** The same of the disk as it was before the second try: what is not known of it is looked at in a run of its own. */
  #judgeAfresh(disk: string, one: Case, wanted: Tree | undefined): string {
    if (!this.#seen.has(disk)) {
      const kernel = this.#bed.fresh(this.#injector, one.cache);
      this.#strike(kernel, one);
      kernel.engine.end();
    }
    return this.#judge(disk, wanted);
  }

  /** The first trees of which one is not as it should be. */
  #explain(...pairs: readonly (readonly [wanted: Tree, found: Tree, where: string])[]): string {
    const seen = this.#bed.config.parts ? withoutLinks : (tree: Tree): Tree => tree;
    for (const [wanted, found, where] of pairs) {
      const lines = differences(seen(wanted), seen(found));
      if (lines.length > 0) return `${where}: ${lines.slice(0, 6).join('; ')}`;
    }
    return '';
  }
}

/** What does not depend on which names are of one file. */
const withoutLinks = (tree: Tree): Tree =>
  new Map(
    [...tree]
      .filter(([path]) => !path.startsWith('links '))
      .map(([path, is]) => [path, is.replace(/ \d+ links /, ' ')]),
  );
