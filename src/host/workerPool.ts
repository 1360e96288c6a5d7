/**
 * Chooses the engine thread that serves a mount.
 *
 * - A thread that serves a mount waits for the threads that serve the mount's own layers, because a layer may
 *   lie on another of our mounts. If such waits formed a circle, all threads in it would stop for good. So a
 *   mount never goes to a thread for which, over any number of steps, a thread of one of its layers waits.
 * - Mounts of the same lowers share what a thread knows of them (overlay/listing/shared.ts). So among threads
 *   with about the same load, one that has such a mount is chosen, but never a busier one: two containers of
 *   one image shall be able to work at once.
 */
import type { EngineWorker } from './engineWorker.js';

/** For the sake of shared lowers a thread may get a mount more for each so many that the other has. */
const SLACK = 4;

/** `a` has so much less to do than `b` that it is taken; `serves`: which of them serve the lowers. */
function fewer(a: EngineWorker, b: EngineWorker, serves: readonly [boolean, boolean]): boolean {
  const [one, other] = serves;
  if (one === other) return a.mounts.size < b.mounts.size;
  return one ? suits(a, b) : !suits(b, a);
}

/** A thread that serves the lowers has not much more to do than one that does not. */
function suits({ mounts: { size } }: EngineWorker, { mounts }: EngineWorker): boolean {
  return size <= mounts.size || size < mounts.size + Math.floor(mounts.size / SLACK);
}

export class WorkerPool {
  readonly #threads = new Set<EngineWorker>();
  /** Those of them that one mount has for itself, or that only look at paths. */
  readonly #own = new Set<EngineWorker>();
  readonly #limit: number;
  readonly #start: () => EngineWorker;
  /** Mount number -> the threads that serve its layers. */
  readonly #waits = new Map<number, ReadonlySet<EngineWorker>>();
  /** Mount number -> what it has as lowers. */
  readonly #lowers = new Map<number, string>();

  /** `limit`: threads for mounts that could share one; nested mounts may need more. */
  constructor(limit: number, start: () => EngineWorker) {
    this.#limit = limit;
    this.#start = start;
  }

  get threads(): ReadonlySet<EngineWorker> {
    return this.#threads;
  }

  /**
   * Starts a thread when every one has work, for the next mount to find, or for its checks.
   * Throws where none can be started.
   */
  provide(): void {
    const idle = this.#idle();
    if (idle && !idle.stuck) return;
    const shared = [...this.#threads].filter((thread) => !this.#own.has(thread));
    const thread = this.#add();
    if (shared.length >= this.#limit) this.#own.add(thread);
  }

  /**
   * A thread to look at paths on, which serves no mount: it may come upon a path that a mount of ours
   * serves. Throws where none can be started.
   */
  checker(): EngineWorker {
    const idle = this.#idle();
    if (idle && !idle.stuck) return idle;
    return this.#addOwn();
  }

  /** A thread without mounts, the one that is not stuck if there is one. */
  #idle(): EngineWorker | undefined {
    const idle = [...this.#threads].filter(({ mounts, dead }) => mounts.size === 0 && !dead);
    return idle.find(({ stuck, started }) => !stuck && started) ?? idle.find(({ stuck }) => !stuck);
  }

  /**
   * Places mount `number`, whose layers `layerThreads` serve; `lowers` is equal for mounts of the same
   * ones. `hangs`: a layer may hang, so it gets a thread of its own. Throws where none can be started.
   */
  place(
    number: number,
    layerThreads: ReadonlySet<EngineWorker>,
    lowers: string,
    hangs = false,
  ): EngineWorker {
    const own = hangs || [...layerThreads].some((thread) => this.#own.has(thread));
    const thread = own ? this.#addOwn() : this.#best(layerThreads, lowers);
    thread.mounts.add(number);
    this.#waits.set(number, layerThreads);
    this.#lowers.set(number, lowers);
    return thread;
  }

  #addOwn(): EngineWorker {
    const thread = this.#add();
    this.#own.add(thread);
    return thread;
  }

  #best(layerThreads: ReadonlySet<EngineWorker>, lowers: string): EngineWorker {
    const excluded = this.#awaitedBy(layerThreads);
    let best: EngineWorker | undefined;
    for (const thread of this.#threads) {
      if (excluded.has(thread) || thread.dead || thread.stuck || this.#own.has(thread)) continue;
      // One that is still starting would make the caller wait: only when there is no other.
      const sooner = best !== undefined && thread.started && !best.started;
      if (!best || sooner) best = thread;
      else if (thread.started === best.started) {
        const serves = [this.#serves(thread, lowers), this.#serves(best, lowers)] as const;
        if (fewer(thread, best, serves)) best = thread;
      }
    }
    return best ?? this.#add();
  }

  #serves(thread: EngineWorker, lowers: string): boolean {
    for (const number of thread.mounts) if (this.#lowers.get(number) === lowers) return true;
    return false;
  }

  /** Mount `number` is over. A thread that it had for itself ends. */
  remove(number: number): void {
    this.#waits.delete(number);
    this.#lowers.delete(number);
    for (const thread of this.#threads) {
      if (thread.mounts.delete(number) && this.#own.has(thread)) this.#end(thread);
    }
  }

  #end(thread: EngineWorker): void {
    this.forget(thread);
    thread.end();
  }

  forget(thread: EngineWorker): void {
    this.#threads.delete(thread);
    this.#own.delete(thread);
  }

  #add(): EngineWorker {
    const thread = this.#start();
    this.#threads.add(thread);
    return thread;
  }

  /** `from` and every thread that one of them waits for, over any number of steps. */
  #awaitedBy(from: ReadonlySet<EngineWorker>): Set<EngineWorker> {
    const reached = new Set(from);
    for (const thread of reached) {
      for (const number of thread.mounts) {
        for (const next of this.#waits.get(number) ?? []) reached.add(next);
      }
    }
    return reached;
  }
}
