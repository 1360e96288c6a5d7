/**
 * A union mount for a test, by stratafs or by kernel overlayfs, in a scratch directory of its own.
 * Whatever happens in the test, the mount ends and the directory goes.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { stratafsBinary } from '../../support/needs.js';
import { connectionOf, expectNothingLeft, mountsBelow } from './leftovers.js';
import { bash, run } from './run.js';

export type Driver = 'stratafs' | 'kernel' | 'fuse-overlayfs';

export interface Union {
  readonly driver: Driver;
  readonly mountpoint: string;
  readonly upper: string;
}

/** What every test here needs. */
export const MOUNTS = { root: true, fuse: true, stratafs: true } as const;

/** The program under test; STRATAFS_BIN names another one with the same words. */
export const STRATAFS = stratafsBinary();

/** Kernel overlayfs with the features off that change the upper's format or the inode numbers. */
const KERNEL_OPTIONS = 'redirect_dir=off,index=off,metacopy=off,xino=off';

/** A directory on a real disk (a tmpfs may lack user xattrs), removed afterwards with all in it. */
export async function withScratch<T>(body: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp('/var/tmp/stratafs-clients-');
  try {
    const result = await body(dir);
    await expectNothingLeft(dir);
    return result;
  } finally {
    await unmountBelow(dir);
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * Mounts `lowers` (topmost first) with a fresh upper, runs `body`, unmounts, and sees that nothing
 * is left and that no lower layer was changed. `more`: further options, as ",NAME=VALUE".
 */
export async function withUnion<T>(
  driver: Driver,
  lowers: readonly string[],
  body: (union: Union) => Promise<T>,
  more = '',
): Promise<T> {
  return withScratch(async (dir) => {
    const marker = `${dir}/marker`;
    await writeFile(marker, '');
    const union = await mountUnion(driver, lowers, dir, more);
    const result = await body(union);
    await unmount(union);
    await expectUntouched(lowers, marker);
    return result;
  });
}

/** Nothing in a lower layer may change, not even an inode's ctime. */
async function expectUntouched(lowers: readonly string[], marker: string): Promise<void> {
  const { stdout } = await run('find', [...lowers, '-cnewer', marker, '-print']);
  if (stdout !== '') throw new Error(`changed in a lower layer:\n${stdout.slice(0, 2000)}`);
}

/** Mounts in `dir`, which gets `upper`, `work` and `mnt`; the caller unmounts. */
export async function mountUnion(
  driver: Driver,
  lowers: readonly string[],
  dir: string,
  more = '',
): Promise<Union> {
  const [upper, work, mountpoint] = [`${dir}/upper`, `${dir}/work`, `${dir}/mnt`];
  for (const path of [upper, work, mountpoint]) await mkdir(path, { recursive: true });
  const options = `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}${more}`;
  if (driver === 'kernel') {
    const all = `${options},${KERNEL_OPTIONS}`;
    await run('mount', ['-t', 'overlay', 'overlay', '-o', all, mountpoint]);
  } else {
    const program = driver === 'stratafs' ? STRATAFS : driver;
    await run(program, ['-o', options, mountpoint], { timeout: 15_000 });
  }
  return { driver, mountpoint, upper };
}

export async function unmount(union: Union): Promise<void> {
  if (union.driver === 'stratafs') {
    await run(STRATAFS, ['unmount', union.mountpoint], { timeout: 30_000 });
  } else await run('umount', [union.mountpoint]);
}

/** Ends every mount below `dir`, a FUSE mount that no longer answers included. */
export async function unmountBelow(dir: string): Promise<void> {
  for (const point of mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), dir)) {
    const { code } = await run('umount', [point], { mayFail: true, timeout: 10_000 }).catch(() => ({
      code: 1,
    }));
    if (code === 0) continue;
    await abort(point);
    await run('umount', ['-l', point], { timeout: 10_000 });
  }
}

/** Aborts the FUSE connection behind `mountpoint`: every request of it fails, so nobody hangs. */
async function abort(mountpoint: string): Promise<void> {
  const connection = await connectionOf(mountpoint);
  if (connection === undefined) return;
  const path = `/sys/fs/fuse/connections/${connection}/abort`;
  try {
    await writeFile(path, '1');
  } catch {
    // fusectl is not mounted on every machine: reach it from a mount namespace of its own.
    await bash(
      `unshare -m sh -c 'mount -t fusectl fusectl /sys/fs/fuse/connections && echo 1 > ${path}'`,
    );
  }
}
