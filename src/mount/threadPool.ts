/**
 * Which engine thread serves which mount.
 *
 * A thread that serves a mount waits for the threads that serve the mount's own layers (a layer may
 * lie on another of our mounts). These waits must never form a circle, or all in it stop for good.
 * So a mount never goes to a thread that is waited for, over any number of steps, by a thread that
 * serves one of its layers.
 */
import type { EngineThread } from './engineThread.js';

const fewer = (a: EngineThread, b: EngineThread): boolean => a.mounts.size < b.mounts.size;

export class ThreadPool {
  readonly #threads = new Set<EngineThread>();
  readonly #limit: number;
  readonly #start: () => EngineThread;
  /** Mount number -> the threads that serve its layers. */
  readonly #waits = new Map<number, ReadonlySet<EngineThread>>();

  /** `limit`: threads for mounts that could share one; nested mounts may need more. */
  constructor(limit: number, start: () => EngineThread) {
    this.#limit = limit;
    this.#start = start;
  }

  get threads(): ReadonlySet<EngineThread> {
    return this.#threads;
  }

  /** Starts a thread when every one has work and there may be one more, for the next mount to find. */
  provide(): void {
    if (this.#threads.size >= this.#limit) return;
    for (const thread of this.#threads) if (thread.mounts.size === 0) return;
    this.#add();
  }

  /** Places mount `number`, whose layers `layerThreads` serve. */
  place(number: number, layerThreads: ReadonlySet<EngineThread>): EngineThread {
    const excluded = this.#awaitedBy(layerThreads);
    let best: EngineThread | undefined;
    for (const thread of this.#threads) {
      if (excluded.has(thread) || thread.dead) continue;
      // One that is still starting would make the caller wait: only when there is no other.
      const sooner = best !== undefined && thread.started && !best.started;
      if (!best || sooner || (thread.started === best.started && fewer(thread, best)))
        best = thread;
    }
    best ??= this.#add();
    best.mounts.add(number);
    this.#waits.set(number, layerThreads);
    return best;
  }

  /** Mount `number` is over. */
  remove(number: number): void {
    this.#waits.delete(number);
    for (const thread of this.#threads) thread.mounts.delete(number);
  }

  forget(thread: EngineThread): void {
    this.#threads.delete(thread);
  }

  #add(): EngineThread {
    const thread = this.#start();
    this.#threads.add(thread);
    return thread;
  }

  /** `from` and every thread that one of them waits for, over any number of steps. */
  #awaitedBy(from: ReadonlySet<EngineThread>): Set<EngineThread> {
    const reached = new Set(from);
    for (const thread of reached) {
      for (const number of thread.mounts) {
        for (const next of this.#waits.get(number) ?? []) reached.add(next);
      }
    }
    return reached;
  }
}
