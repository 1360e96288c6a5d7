/**
 * Mounts by each of the drivers that tests compare. Every mount has deadlines. One that hangs is aborted
 * through /sys/fs/fuse/connections, and `unmount` leaves nothing behind even then.
 */
import process from 'node:process';
import { abortConnection } from './abort.js';
import { Client } from './client.js';
import { stratafsBinary } from './needs.js';
import { mountTable } from './place.js';
import { type Ran, run } from './run.js';

export type Driver = 'stratafs' | 'kernel' | 'fuse-overlayfs';

export interface Stack {
  /** Topmost first. */
  readonly lowers: readonly string[];
  readonly upper?: string;
  readonly work?: string;
}

const MOUNT_TIMEOUT_MS = 30_000;
const UNMOUNT_TIMEOUT_MS = 30_000;

/**
 * What the drivers write into an upper: `plain` is kernel overlayfs's default, said aloud, as a
 * distribution may choose otherwise; `full` is stratafs's default; `unindexed` all that needs no file
 * handles, which no FUSE mount has; `userxattr` keeps the marks where
 * an unprivileged user can write them. The options mean the same to both.
 */
const FEATURES = {
  plain: ['redirect_dir=off', 'metacopy=off', 'index=off'],
  full: ['redirect_dir=on', 'metacopy=on', 'index=on'],
  unindexed: ['redirect_dir=on', 'metacopy=on', 'index=off'],
  userxattr: ['userxattr', 'index=off'],
} as const;

/**
 * `defaults` says nothing to stratafs, which then does as `full`; `user` is what there is in a user
 * namespace: `userxattr`, which stratafs takes there unasked.
 */
export type Features = keyof typeof FEATURES | 'defaults' | 'user';

/** Those that random sequences are run with, by turns; `user` needs a namespace to be in. */
export const COMPARED = ['plain', 'full', 'userxattr', 'defaults'] as const;

export const isFeatures = (word: string): word is (typeof COMPARED)[number] =>
  COMPARED.some((features) => features === word);

export function featuresOfSeed(seed: number): Features {
  return COMPARED[seed % COMPARED.length] ?? 'defaults';
}

/** The options that make a driver write `features`; fuse-overlayfs knows none. */
export function featureOptions(driver: Driver, features: Features): readonly string[] {
  if (driver === 'fuse-overlayfs') return [];
  if (features === 'user') return driver === 'kernel' ? FEATURES.userxattr : [];
  if (features === 'defaults') return driver === 'kernel' ? FEATURES.full : [];
  return FEATURES[features];
}

/** lowerdir, upperdir and workdir, as `-o` takes them. */
export function layerOptions(stack: Stack): string[] {
  const options = [`lowerdir=${stack.lowers.join(':')}`];
  if (stack.upper !== undefined) options.push(`upperdir=${stack.upper}`);
  if (stack.work !== undefined) options.push(`workdir=${stack.work}`);
  return options;
}

/** Options that every mount of stratafs gets besides: the same tests, another way of serving. */
const MORE = (process.env['STRATAFS_OPTIONS'] ?? '').split(',').filter((word) => word !== '');

function mountCommand(
  driver: Driver,
  stack: Stack,
  mountpoint: string,
  extra: readonly string[],
): [string, string[]] {
  const layers = layerOptions(stack);
  switch (driver) {
    case 'stratafs':
      return [stratafsBinary(), ['-o', [...layers, ...MORE, ...extra].join(','), mountpoint]];
    case 'fuse-overlayfs':
      return ['fuse-overlayfs', ['-o', [...layers, ...extra].join(','), mountpoint]];
    case 'kernel': {
      const said = extra.some((option) => option === 'userxattr' || option.startsWith('metacopy='));
      const unsaid = extra.includes('userxattr') ? ['index=off'] : said ? [] : FEATURES.plain;
      const options = [...layers, ...unsaid, ...extra].join(',');
      return ['mount', ['-t', 'overlay', 'overlay', '-o', options, mountpoint]];
    }
  }
}

/** The device number (minor) of the mount at `path`, without asking the mount itself. */
export function mountDevice(path: string): number | undefined {
  const lines = mountTable().split('\n').reverse();
  const line = lines.find((text) => text.split(' ')[4] === path);
  const minor = line?.split(' ')[2]?.split(':')[1];
  return minor === undefined ? undefined : Number(minor);
}

/** Runs the driver's mount command; succeeds or not, as it says. */
export function tryMount(
  driver: Driver,
  stack: Stack,
  mountpoint: string,
  extra: readonly string[] = [],
): Promise<Ran> {
  const [file, args] = mountCommand(driver, stack, mountpoint, extra);
  return run(file, args, { timeoutMs: MOUNT_TIMEOUT_MS });
}

export class Mounted {
  readonly driver: Driver;
  readonly path: string;
  private clients: Client[] = [];

  constructor(driver: Driver, path: string) {
    this.driver = driver;
    this.path = path;
  }

  /** A new client process in the mount's root. */
  async client(): Promise<Client> {
    const client = await Client.start(this.path, () => this.abort());
    this.clients.push(client);
    return client;
  }

  /** Ends the FUSE connection: whoever waits for the server gets ENOTCONN. */
  abort(): void {
    const device = mountDevice(this.path);
    if (this.driver === 'kernel' || device === undefined) return;
    abortConnection(device);
  }

  /** Ends the clients and the mount. Rejects when the mount had to be torn away. */
  async unmount(): Promise<void> {
    await Promise.all(this.clients.splice(0).map((client) => client.close()));
    if (mountDevice(this.path) === undefined) return;
    let why = '';
    try {
      const ended = await run('umount', [this.path], { timeoutMs: UNMOUNT_TIMEOUT_MS });
      why = ended.stderr;
    } catch (error) {
      why = String(error);
    }
    if (mountDevice(this.path) === undefined) return;
    this.abort();
    await run('umount', ['-l', this.path]);
    throw new Error(`cannot unmount ${this.path}: ${why}`);
  }
}

/** Mounts, or rejects with what the driver said. */
export async function mountStack(
  driver: Driver,
  stack: Stack,
  mountpoint: string,
  extra: readonly string[] = [],
): Promise<Mounted> {
  const ran = await tryMount(driver, stack, mountpoint, extra);
  if (ran.code !== 0) throw new Error(`${driver} did not mount (${ran.code}): ${ran.stderr}`);
  if (mountDevice(mountpoint) === undefined)
    throw new Error(`${driver} returned 0, but ${mountpoint} is no mount`);
  return new Mounted(driver, mountpoint);
}

/** Mounts, runs `body`, and unmounts whatever happens. */
export async function withMount<T>(
  driver: Driver,
  stack: Stack,
  mountpoint: string,
  body: (client: Client, mounted: Mounted) => Promise<T>,
  extra: readonly string[] = [],
): Promise<T> {
  const mounted = await mountStack(driver, stack, mountpoint, extra);
  let value: T;
  try {
    value = await body(await mounted.client(), mounted);
  } catch (error) {
    await mounted.unmount().catch((second: unknown) => {
      // The first error is the cause; this one is added so that it is seen.
      if (error instanceof Error) error.message += `\nand then: ${String(second)}`;
    });
    throw error;
  }
  await mounted.unmount();
  return value;
}
