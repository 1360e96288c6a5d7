/**
 * Mounts for programs: the library, the drivers and the store. The resident host serves these mounts, never
 * the calling process, so a program may use its own mount with any file system function.
 */
import { EventEmitter } from 'node:events';
import { Worker } from 'node:worker_threads';
import { display } from '../base/bytes.js';
import { E, errnoText } from '../base/errno.js';
import type { ChangeJson } from '../diff/json.js';
import { loadNative } from '../sys/native.js';
import { realpath } from '../sys/paths.js';
import type { MountStats } from '../wire/stats.js';
import { liveMounts, mountStats, type Served } from './ask.js';
import { coded, StratafsError } from './failure.js';
import { mountByHost } from './hostLink.js';
import { type MountSettings, optionList, type Path, pathOf } from './options.js';
import { unmountAt } from './unmounting.js';
import { type End, watch } from './watch.js';

/** What to mount, and where. Relative paths start at the current directory. */
export interface MountOptions extends MountSettings {
  /** Lower layers, topmost first; at least one. They must not change while mounted. */
  readonly lower: readonly Path[];
  /**
   * Data-only layers, which are not merged: an absolute redirect of a metadata-only copy in `lower`
   * leads to its data there, in the first of them that has it. Default: none.
   */
  readonly dataOnly?: readonly Path[];
  /** Where changes go. Without it the mount is read-only. */
  readonly upper?: Path;
  /** An empty directory on the file system of `upper`; required with it. */
  readonly work?: Path;
  /** An existing directory. */
  readonly mountpoint: Path;
  /** When it fires, `mount` rejects with its reason, and nothing is mounted. */
  readonly signal?: AbortSignal;
}

/** A live mount. Every promise rejects with a StratafsError, which has a `code`. */
export interface Mount {
  /** Absolute and without symlinks; bytes that are not UTF-8 are written \\xNN. */
  readonly mountpoint: string;
  /** Counters since the mount began. Rejects with ERR_ENDED when it has ended. */
  stats(): Promise<MountStats>;
  /** What the upper changes; pages still dirty in the kernel are written first. */
  diff(): Promise<ChangeJson[]>;
  /** Unmounts; `lazy` detaches a mount that is in use. Rejects with ERR_BUSY when it is. */
  unmount(options?: { readonly lazy?: boolean }): Promise<void>;
  /** Unmounts; a mount that is in use is detached. For `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
  /** `end` comes once: when the mount was unmounted by anybody, or when its host has died. */
  on(event: 'end', listener: (how: End) => void): this;
  off(event: 'end', listener: (how: End) => void): this;
}

/** As `mount`, for who needs no `Mount`: with many mounts, listing them takes longer than one more. */
export async function mountOnly(options: MountOptions): Promise<void> {
  const list = optionList(options);
  const { signal, mountpoint } = options;
  const target = pathOf(mountpoint, 'mountpoint');
  signal?.throwIfAborted();
  await coded('ERR_HOST', () => mountByHost(['-o', list, target]));
  if (signal?.aborted !== true) return;
  await unmountAt(target, true);
  signal.throwIfAborted();
}

/**
 * Mounts a union and resolves when it is live; rejects with one sentence, and nothing mounted, when
 * that fails.
 */
export async function mount(options: MountOptions): Promise<Mount> {
  await mountOnly(options);
  return attach(options.mountpoint);
}

/** The live mount on `mountpoint`, whoever has mounted it. Rejects with ERR_NOT_MOUNTED. */
export async function attach(mountpoint: Path): Promise<Mount> {
  const path = pathOf(mountpoint, 'mountpoint');
  const resolved = realpath(path);
  const mounts = await coded('ERR_HOST', liveMounts);
  const served = mounts.findLast((each) => each.mountpoint === resolved);
  if (served) return new HostMount(served);
  throw new StratafsError('ERR_NOT_MOUNTED', `no union is mounted on ${display(path)}`);
}

/** Unmounts the union on `mountpoint`; `lazy` detaches it when it is in use. */
export async function unmount(
  mountpoint: Path,
  options: { readonly lazy?: boolean } = {},
): Promise<void> {
  await unmountAt(pathOf(mountpoint, 'mountpoint'), options.lazy === true);
}

interface Layers {
  readonly upper: string;
  readonly lowers: readonly string[];
  readonly dataLayers?: readonly string[];
}

/** The changes, read by a thread of their own: a large upper takes a while. */
async function changesOf(layers: Layers): Promise<ChangeJson[]> {
  const worker = new Worker(new URL('./diffWorker.js', import.meta.url), {
    workerData: layers,
    // Those of the program may be for its main module alone: --input-type, --require.
    execArgv: [],
  });
  return new Promise((resolve, reject) => {
    worker.on('message', (answer: ChangeJson[] | { readonly sentence: string }) => {
      if (Array.isArray(answer)) resolve(answer);
      else reject(new StratafsError('ERR_FILE', answer.sentence));
    });
    worker.on('error', reject);
  });
}

/** What a directory changes against these layers, topmost first: as `diff` of a mount. */
export function diff(upper: Path, lowers: readonly Path[]): Promise<ChangeJson[]> {
  if (!Array.isArray(lowers)) {
    throw new StratafsError('ERR_ARGUMENT', 'lowers is to be an array of paths');
  }
  return changesOf({
    upper: pathOf(upper, 'upper'),
    lowers: lowers.map((path: Path, i) => pathOf(path, `lowers[${i}]`)),
  });
}

class HostMount implements Mount {
  readonly mountpoint: string;
  readonly #served: Served;
  readonly #events = new EventEmitter();
  #stopWatching: (() => void) | undefined;

  constructor(served: Served) {
    this.mountpoint = display(served.mountpoint);
    this.#served = served;
  }

  async stats(): Promise<MountStats> {
    const stats = await coded('ERR_HOST', () => mountStats(this.#served));
    return stats ?? this.#hasEnded();
  }

  async diff(): Promise<ChangeJson[]> {
    const { mountpoint, device, upper } = this.#served;
    const mounts = await coded('ERR_HOST', liveMounts);
    if (!mounts.some((each) => each.device === device)) this.#hasEnded();
    const synced = await loadNative().syncPath(mountpoint);
    if (synced === -E.ENOTCONN) this.#hasEnded();
    if (synced < 0) {
      const why = `cannot write what ${this.mountpoint} holds to its upper: ${errnoText(synced)}`;
      throw new StratafsError('ERR_FILE', why);
    }
    return upper === undefined ? [] : changesOf({ ...this.#served, upper });
  }

  async unmount(options: { readonly lazy?: boolean } = {}): Promise<void> {
    await unmountAt(this.#served.mountpoint, options.lazy === true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.unmount({ lazy: true });
    } catch (error) {
      // Somebody else was faster.
      if (!(error instanceof StratafsError) || error.code !== 'ERR_NOT_MOUNTED') throw error;
    }
  }

  on(event: 'end', listener: (how: End) => void): this {
    this.#stopWatching ??= watch(this.#served, (how) => this.#events.emit('end', how));
    this.#events.once(event, listener);
    return this;
  }

  off(event: 'end', listener: (how: End) => void): this {
    this.#events.off(event, listener);
    if (this.#events.listenerCount(event) === 0) {
      this.#stopWatching?.();
      this.#stopWatching = undefined;
    }
    return this;
  }

  #hasEnded(): never {
    throw new StratafsError('ERR_ENDED', `the mount on ${this.mountpoint} has ended`);
  }
}
