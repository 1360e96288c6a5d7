/**
 * File systems in user space without flags of rename, file handles and FICLONE: what an upper gets on NFS,
 * sshfs, glusterfs and the like, where kernel overlayfs has none.
 */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDir } from '../support/place.js';
import { mustRun, run } from '../support/run.js';
import type { Difference } from './compare.js';

export type ForeignKind = 'bindfs' | 'fuse2fs';

const MIB = 1 << 20;
const TRIES = 100;
const BETWEEN_MS = 50;

/** The host lets go of the layers of an unmounted mount a moment later. */
async function unmount(path: string): Promise<void> {
  for (let tries = 0; tries < TRIES; tries++) {
    if ((await run('umount', [path])).code === 0) return;
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
  }
  await mustRun('umount', [path]);
}

export class Foreign {
  readonly mountpoint: string;
  readonly #kind: ForeignKind;
  /** bindfs: what is shown; fuse2fs: where its image is mounted by the kernel. */
  readonly #real: string;
  readonly #image: string;
  #up = false;
  #looped = false;

  private constructor(top: string, kind: ForeignKind) {
    this.#kind = kind;
    this.mountpoint = makeDir(join(top, 'mnt'));
    this.#real = makeDir(join(top, 'real'));
    this.#image = join(top, 'image');
  }

  static async mount(top: string, kind: ForeignKind): Promise<Foreign> {
    const foreign = new Foreign(top, kind);
    if (kind === 'bindfs') {
      await mustRun('bindfs', [foreign.#real, foreign.mountpoint]);
    } else {
      writeFileSync(foreign.#image, '');
      truncateSync(foreign.#image, 64 * MIB);
      await mustRun('mkfs.ext4', ['-q', '-F', '-E', 'root_owner=0:0', foreign.#image]);
      await mustRun('fuse2fs', ['-o', 'fakeroot,allow_other', foreign.#image, foreign.mountpoint]);
    }
    foreign.#up = true;
    return foreign;
  }

  /** The same tree without the file system in user space, which ends with this. */
  async below(): Promise<string> {
    await this.unmount();
    if (this.#kind === 'fuse2fs') {
      await mustRun('mount', ['-o', 'loop', this.#image, this.#real]);
      this.#looped = true;
    }
    return this.#real;
  }

  async unmount(): Promise<void> {
    if (this.#up) await unmount(this.mountpoint);
    this.#up = false;
    if (this.#looped) await unmount(this.#real);
    this.#looped = false;
  }

  /** Nothing of its own to compare. */
  comesBack(): Promise<Difference[]> {
    return Promise.resolve([]);
  }
}
