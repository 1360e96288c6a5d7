/**
 * Files that are too large to be copied at once, and mounts over them. They lie on a disk, as /tmp may be
 * memory.
 */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Client, decodeWord, parseLine, type Word } from './client.js';
import { type Held, hold } from './held.js';
import { type Mounted, mountStack } from './mount.js';
import { stratafsBinary } from './needs.js';
import { mustRun, run } from './run.js';

export const MIB = 2 ** 20;

/** A lower layer with `big`, of so many MiB, each of them different. */
export class BulkLayer {
  readonly root = mkdtempSync('/var/tmp/stratafs-bulk-');
  readonly lower = join(this.root, 'lower');
  readonly file = join(this.lower, 'big');
  readonly size: number;
  #count = 0;

  constructor(mib: number) {
    this.size = mib * MIB;
    mkdirSync(this.lower);
    const fd = openSync(this.file, 'w');
    const block = Buffer.alloc(MIB, 'lower data ');
    for (let i = 0; i < mib; i++) {
      block.writeUInt32LE(i);
      writeSync(fd, block);
    }
    closeSync(fd);
  }

  /** The file's first bytes, latin1. */
  head(length: number): string {
    const bytes = Buffer.alloc(length);
    const fd = openSync(this.file, 'r');
    readSync(fd, bytes);
    closeSync(fd);
    return bytes.toString('latin1');
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  /** A mount with a fresh upper, or with that of an earlier one. */
  async mount(options: readonly string[] = [], place?: string): Promise<BulkMount> {
    const at = place ?? join(this.root, `m${this.#count++}`);
    for (const name of ['upper', 'work', 'mnt']) mkdirSync(join(at, name), { recursive: true });
    const stack = { lowers: [this.lower], upper: join(at, 'upper'), work: join(at, 'work') };
    return new BulkMount(at, await mountStack('stratafs', stack, join(at, 'mnt'), options));
  }
}

export class BulkMount {
  readonly place: string;
  readonly mounted: Mounted;
  #held: Held | undefined;

  constructor(place: string, mounted: Mounted) {
    this.place = place;
    this.mounted = mounted;
  }

  get upperFile(): string {
    return join(this.place, 'upper/big');
  }

  client(): Promise<Client> {
    return this.mounted.client();
  }

  /** What is being made ready, or was left behind. */
  inWork(): string[] {
    return readdirSync(join(this.place, 'work/work'));
  }

  /**
   * After umount(8), which does not wait for the engine: its thread hears of the end later, and takes the
   * shared whiteout (`#whiteout`) away then.
   */
  async ended(): Promise<void> {
    await expect.poll(() => this.inWork(), { timeout: 60_000, interval: 5 }).toEqual([]);
  }

  async copyUps(): Promise<number> {
    const ran = await mustRun(stratafsBinary(), ['stats', this.mounted.path, '--json']);
    return (JSON.parse(ran.stdout) as { copyUps: number }).copyUps;
  }

  /** Whoever copies or syncs a file's data from now on waits until `letGo`. */
  async hold(): Promise<void> {
    const ran = await mustRun(stratafsBinary(), ['mounts', '--json']);
    const all = JSON.parse(ran.stdout) as { mountpoint: string; pid: number }[];
    const pid = all.find(({ mountpoint }) => mountpoint === this.mounted.path)?.pid ?? -1;
    this.#held = await hold(pid, 'copy_file_range,fsync,fdatasync');
  }

  /** Resolves when a copy, or a sync, is under way and held. */
  async copying(): Promise<void> {
    await this.#held?.entered;
  }

  async letGo(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    await held?.letGo();
  }
}

/** The bytes in which two files differ, as `cmp -l` lists them (offset from 1, octal values). */
export async function changed(one: string, other: string): Promise<string[]> {
  const { stdout } = await run('cmp', ['-l', one, other], { timeoutMs: 60_000 });
  return stdout.trim() === '' ? [] : stdout.trim().split('\n');
}

/** As Client.must, for calls that wait for gigabytes on a busy disk. */
export async function patient(client: Client, name: string, ...words: Word[]): Promise<string[]> {
  const result = parseLine(await client.line(name, words, 110_000));
  if (result.errno !== undefined) throw new Error(`${name}: ${result.errno}`);
  return result.words.map(decodeWord);
}

/** Whether a promise is settled, without waiting for it. */
export function watch(promise: Promise<unknown>): { settled: boolean } {
  const state = { settled: false };
  const settle = (): void => {
    state.settled = true;
  };
  promise.then(settle, settle);
  return state;
}
