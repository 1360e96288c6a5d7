/** An engine thread as the host's main thread sees it: a worker, and the mounts it serves. */
import type { Worker } from 'node:worker_threads';
import type { FromEngine, ToEngine } from '../fuse/messages.js';
import type { Native } from '../sys/native.js';
import { startEngine } from './engineEntry.js';

type Answer = Extract<FromEngine, { readonly mount: number }>;

export class EngineWorker {
  /** It owes an answer for too long; until it gives one it gets no more mounts. */
  stuck = false;
  /** The mounts placed here, by number. */
  readonly mounts = new Set<number>();
  /** Settles when the thread has said `ready`; rejects when it died before. */
  readonly ready: Promise<void>;
  /** Resolves when the thread is gone, whatever the reason. */
  readonly gone: Promise<void>;
  readonly #worker: Worker;
  readonly #native: Native;
  #wakeFd = -1;
  #started = false;
  #dead = false;
  #leaving = false;

  constructor(
    native: Native,
    onAnswer: (answer: Answer) => void,
    onStats: (answer: Extract<FromEngine, { readonly kind: 'stats' }>) => void,
    onDeath: (thread: EngineWorker, reason: Error) => void,
  ) {
    this.#native = native;
    this.#worker = startEngine();
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on('message', (message: FromEngine) => {
        this.stuck = false;
        if (message.kind === 'ready') {
          this.#wakeFd = message.wakeFd;
          this.#started = true;
          resolve();
        } else if (message.kind === 'stats') onStats(message);
        else onAnswer(message);
      });
      const died = (reason: Error): void => {
        this.#dead = true;
        reject(reason);
        onDeath(this, reason);
      };
      this.#worker.on('error', (error: unknown) => {
        died(error instanceof Error ? error : new Error(String(error)));
      });
      // After an error too; without one when the thread was ended from outside.
      this.#worker.once('exit', (code) => {
        if (!this.#dead && !this.#leaving) died(new Error(`it ended with ${code}`));
      });
    });
    // Who uses the thread awaits `ready`; a spare one that dies unused must not end the host.
    this.ready.catch(() => undefined);
    this.gone = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#dead = true;
        resolve();
      });
    });
  }

  /** It has said `ready`. */
  get started(): boolean {
    return this.#started;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** It leaves its loop as soon as it can: at once, when it has come up, or when a layer that hangs lets go of it. */
  end(): void {
    this.ready.then(
      () => {
        if (!this.#dead) this.post({ kind: 'stop' });
      },
      // It never came up.
      () => undefined,
    );
  }

  /** Posts and wakes the thread, which sits in its read loop. Only after `ready`. */
  post(message: ToEngine): void {
    if (message.kind === 'stop') this.#leaving = true;
    this.#worker.postMessage(message);
    this.#native.wake(this.#wakeFd);
  }
}
