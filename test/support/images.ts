/** File systems in image files, for a test that needs several. */
import { copyFileSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, run, scratch } from './run.js';
import { mountsBelow } from './staleMounts.js';

const MIB = 1 << 20;
const MAKERS = new Map<string, readonly [size: number, program: string, ...flags: string[]]>([
  ['ext4', [64 * MIB, 'mkfs.ext4', '-q', '-F']],
  ['xfs', [320 * MIB, 'mkfs.xfs', '-q', '-f']],
  ['btrfs', [256 * MIB, 'mkfs.btrfs', '-q', '-f']],
]);

/** The programs that make the named kinds. */
export const makersOf = (...kinds: readonly string[]): string[] =>
  kinds.flatMap((kind) => MAKERS.get(kind)?.[1] ?? []);

export class Images {
  readonly base = scratch('images');
  #count = 0;

  #at(): string {
    const at = join(this.base, `fs${this.#count++}`);
    mkdirSync(at);
    return at;
  }

  /** Mounts a new file system; `more` are further arguments of its maker. Returns where. */
  async mount(kind: string, ...more: readonly string[]): Promise<string> {
    const at = this.#at();
    const maker = MAKERS.get(kind);
    if (!maker) {
      await mustRun('mount', ['-t', kind, '-o', `size=${64 * MIB}`, 'test', at]);
      return at;
    }
    const [size, program, ...flags] = maker;
    const image = `${at}.img`;
    writeFileSync(image, '');
    truncateSync(image, size);
    await mustRun(program, [...flags, ...more, image]);
    await mustRun('mount', ['-o', 'loop', image, at]);
    return at;
  }

  /** Mounts a copy of the image that is mounted at `other`: it has the same UUID. */
  async copy(other: string): Promise<string> {
    const at = this.#at();
    await mustRun('sync', ['-f', other]);
    await mustRun('fsfreeze', ['-f', other]);
    try {
      copyFileSync(`${other}.img`, `${at}.img`);
    } finally {
      await mustRun('fsfreeze', ['-u', other]);
    }
    await mustRun('mount', ['-o', 'loop', `${at}.img`, at]);
    return at;
  }

  async close(): Promise<void> {
    for (const at of mountsBelow(this.base).toReversed()) {
      // The host closes the layers of the last mount a moment after that mount is gone.
      for (let tries = 0; tries < 50 && (await run('umount', [at])).code !== 0; tries++)
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const left = mountsBelow(this.base);
    if (left.length > 0) throw new Error(`still mounted: ${left.join(' ')}`);
    rmSync(this.base, { recursive: true });
  }
}
