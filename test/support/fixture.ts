/** Layers, an upper, a workdir and a mountpoint in one directory of their own. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Client } from './client.js';
import { type Driver, type Mounted, type Stack, withMount } from './mount.js';
import type { Needs } from './needs.js';
import { makeDir } from './place.js';
import { scratch } from './run.js';
import { type Entry, build } from './tree.js';

/** stratafs; STRATAFS_DRIVER=kernel proves a test against kernel overlayfs. */
export const DRIVER = (process.env['STRATAFS_DRIVER'] ?? 'stratafs') as Driver;

export const MOUNT_NEEDS: Needs = {
  root: true,
  fuse: true,
  programs: ['gcc'],
  stratafs: DRIVER === 'stratafs',
};

export interface Parts {
  /** Topmost first. */
  readonly lowers: readonly (readonly Entry[])[];
  /** Absent: an empty upper. `false`: none, a read-only mount. */
  readonly upper?: readonly Entry[] | false;
  /** Where upper and work lie, when it is not the fixture's own directory. */
  readonly upperOn?: string;
}

export interface Fixture {
  readonly top: string;
  readonly stack: Stack;
  readonly mountpoint: string;
}

export async function makeFixture(name: string, parts: Parts): Promise<Fixture> {
  const top = scratch(name);
  const lowers = parts.lowers.map((_, index) => makeDir(join(top, `lower${index}`)));
  await Promise.all(parts.lowers.map((entries, index) => build(lowers[index] ?? '', entries)));
  const mountpoint = makeDir(join(top, 'mnt'));
  if (parts.upper === false) return { top, stack: { lowers }, mountpoint };
  const on = parts.upperOn ?? top;
  const stack = { lowers, upper: makeDir(join(on, 'upper')), work: makeDir(join(on, 'work')) };
  await build(stack.upper, parts.upper ?? []);
  return { top, stack, mountpoint };
}

/** Mounts a fixture with the driver under test. */
export function mounting<T>(
  fixture: Fixture,
  body: (client: Client, mounted: Mounted) => Promise<T>,
  options: readonly string[] = [],
): Promise<T> {
  return withMount(DRIVER, fixture.stack, fixture.mountpoint, body, options);
}

/** Makes a fixture, mounts it, runs `body`, and leaves nothing. */
export async function withFixture<T>(
  name: string,
  parts: Parts,
  body: (client: Client, mounted: Mounted, fixture: Fixture) => Promise<T>,
  options: readonly string[] = [],
): Promise<T> {
  const fixture = await makeFixture(name, parts);
  try {
    return await mounting(fixture, (client, mounted) => body(client, mounted, fixture), options);
  } finally {
    rmSync(fixture.top, { recursive: true, force: true });
  }
}
