/**
 * Mounts for programs: the library, the drivers and the store. The resident host serves these mounts, never
 * the calling process, so a program may use its own mount with any file system function.
 */
import { execFile } from 'node:child_process';
import { resolve as resolvePath } from 'node:path';
import { promisify } from 'node:util';
import { toLatin1 } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import { nativeFile } from '../sys/installed.js';
import { realpath } from '../sys/paths.js';
import type { MountStats } from '../wire/stats.js';
import { liveMounts, mountStats, type Served } from './ask.js';

const run = promisify(execFile);
/** A diff of a few million changes. */
const MAX_OUTPUT = 1 << 30;

/** What to mount, and where. Relative paths start at the current directory. */
export interface MountOptions {
  /** Lower layers, topmost first; at least one. They must not change while mounted. */
  readonly lower: readonly string[];
  /**
   * Data-only layers, which are not merged: an absolute redirect of a metadata-only copy in `lower`
   * leads to its data there, in the first of them that has it. Default: none.
   */
  readonly dataOnly?: readonly string[];
  /** Where changes go. Without it the mount is read-only. */
  readonly upper?: string;
  /** An empty directory on the file system of `upper`; required with it. */
  readonly work?: string;
  /** An existing directory. */
  readonly mountpoint: string;
  /** No change reaches `upper`. Default: false with an upper. */
  readonly readOnly?: boolean;
  /**
   * `sync` (default): fsync reaches the disk, copy-ups are synced. `fsync=0`: nothing is synced.
   * `volatile`: the same, and the workdir is marked so that no later mount trusts the upper.
   */
  readonly durability?: 'sync' | 'fsync=0' | 'volatile';
  /** The kernel collects writes (default true); false is faster for reading many small files. */
  readonly writeback?: boolean;
  /** Who moves the data: `cached` (default), `passthrough` or `auto`; see README.md. */
  readonly data?: 'cached' | 'passthrough' | 'auto';
  /** Further mount options, each as `-o` takes it: `uidmapping=0:100000:65536`. */
  readonly options?: readonly string[];
}

/** One path that differs from the lower layers. */
export interface Change {
  /** Added, changed or deleted. */
  readonly kind: 'A' | 'C' | 'D';
  /** From the root of the mount; bytes that are not UTF-8 are written \xNN. */
  readonly path: string;
  /** The exact bytes, only where `path` is not them. */
  readonly pathBase64?: string;
}

/** A live mount. */
export interface Mount {
  /** Absolute and without symlinks. */
  readonly mountpoint: string;
  /** Counters since the mount began. Rejects when it has ended. */
  stats(): Promise<MountStats>;
  /** What the upper changes; pages still dirty in the kernel are written first. */
  diff(): Promise<Change[]>;
  /** Unmounts; `lazy` detaches a mount that is in use. Rejects with one sentence when it is busy. */
  unmount(options?: { readonly lazy?: boolean }): Promise<void>;
}

const escape = (path: string): string => resolvePath(path).replace(/[\\,:]/g, '\\$&');

function optionList(options: MountOptions): string {
  const dataOnly = (options.dataOnly ?? []).map((path) => `::${escape(path)}`);
  const words = [`lowerdir=${options.lower.map(escape).join(':')}${dataOnly.join('')}`];
  if (options.upper !== undefined) words.push(`upperdir=${escape(options.upper)}`);
  if (options.work !== undefined) words.push(`workdir=${escape(options.work)}`);
  if (options.readOnly === true) words.push('ro');
  if (options.durability !== undefined && options.durability !== 'sync') {
    words.push(options.durability);
  }
  if (options.data !== undefined) words.push(`data=${options.data}`);
  if (options.writeback !== undefined) words.push(`writeback=${options.writeback ? 1 : 0}`);
  return [...words, ...(options.options ?? [])].join(',');
}

/** Runs the launcher; rejects with the sentence it prints. */
async function stratafs(args: readonly string[]): Promise<string> {
  try {
    return (await run(nativeFile('stratafs'), args, { maxBuffer: MAX_OUTPUT })).stdout;
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    const message = said.trim().replace(/^stratafs: /, '');
    throw message === '' ? error : new UserError(message, { cause: error });
  }
}

/** Unmounts what is mounted at `mountpoint`; `lazy` detaches it. Rejects with one sentence. */
export async function unmount(
  mountpoint: string,
  options: { readonly lazy?: boolean } = {},
): Promise<void> {
  await stratafs(['unmount', ...(options.lazy === true ? ['--lazy'] : []), mountpoint]);
}

/** As `mount`, for who needs no `Mount`: with many mounts, listing them takes longer than one more. */
export async function mountOnly(options: MountOptions): Promise<void> {
  await stratafs(['-o', optionList(options), resolvePath(options.mountpoint)]);
}

/**
 * Mounts a union and resolves when it is live; rejects with one sentence, and nothing mounted, when
 * that fails.
 */
export async function mount(options: MountOptions): Promise<Mount> {
  const target = resolvePath(options.mountpoint);
  await mountOnly(options);
  const resolved = realpath(toLatin1(target));
  const served = (await liveMounts()).findLast(({ mountpoint }) => mountpoint === resolved);
  if (!served) throw new Error(`${target} was unmounted at once`);
  return new HostMount(served);
}

class HostMount implements Mount {
  readonly mountpoint: string;
  readonly #served: Served;

  constructor(served: Served) {
    this.mountpoint = Buffer.from(served.mountpoint, 'latin1').toString('utf8');
    this.#served = served;
  }

  async stats(): Promise<MountStats> {
    const stats = await mountStats(this.#served);
    if (!stats) throw new Error(`the mount on ${this.mountpoint} has ended`);
    return stats;
  }

  async diff(): Promise<Change[]> {
    return JSON.parse(await stratafs(['diff', '--json', this.mountpoint])) as Change[];
  }

  async unmount(options: { readonly lazy?: boolean } = {}): Promise<void> {
    await unmount(this.mountpoint, options);
  }
}
