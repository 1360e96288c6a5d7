/** A union for a while, with directories of its own. */
import { chmodSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StratafsError } from './failure.js';
import { mount, type Mount, type MountOptions } from './mount.js';

export interface TempOptions extends Omit<MountOptions, 'upper' | 'work' | 'mountpoint'> {
  /** Where the directories are made (default: that of the system). A file system that can hold an upper. */
  readonly directory?: string;
  /** False: a read-only union, without an upper. Default: true. */
  readonly writable?: boolean;
}

/** Removes what the mount left; a workdir has a directory that only root may enter. */
async function remove(base: string): Promise<void> {
  for (const name of await readdir(join(base, 'work')).catch(() => [])) {
    chmodSync(join(base, 'work', name), 0o700);
  }
  await rm(base, { recursive: true, force: true });
}

/** The mount, which takes its directories with it when it is unmounted through it. */
function withRemoval(union: Mount, base: string): Mount {
  const unmountIt = union.unmount.bind(union);
  return Object.assign(union, {
    async unmount(options?: { readonly lazy?: boolean }): Promise<void> {
      await unmountIt(options).catch((error: unknown) => {
        if (!(error instanceof StratafsError) || error.code !== 'ERR_NOT_MOUNTED') throw error;
      });
      await remove(base);
    },
  });
}

/**
 * Mounts a union on a new directory, with an upper that goes with it: `unmount` of what it resolves
 * with removes all of it. Rejects as `mount` does, and leaves nothing then.
 */
export async function mountTemp(options: TempOptions): Promise<Mount> {
  const { directory = tmpdir(), writable = true, ...settings } = options;
  const base = await mkdtemp(join(directory, 'stratafs-'));
  try {
    const [mountpoint, upper, work] = ['mnt', 'upper', 'work'].map((name) => join(base, name));
    await Promise.all([mountpoint, upper, work].map((path) => mkdir(path)));
    const places = writable ? { mountpoint, upper, work } : { mountpoint };
    return withRemoval(await mount({ ...settings, ...places }), base);
  } catch (error) {
    await remove(base);
    throw error;
  }
}
