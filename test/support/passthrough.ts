/** Two processes on a mount with data=passthrough, for the tests of that plane. */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Client } from './client.js';
import { type Fixture, makeFixture, type Parts } from './fixture.js';
import { type Mounted, withMount } from './mount.js';
import { stratafsBinary } from './needs.js';
import { mustRun } from './run.js';
import { file, hardlink, type Manifest, manifestOf } from './tree.js';

export const RDONLY = 0;
export const WRONLY = 1;
export const RDWR = 2;
export const CREAT = 0o100;
export const TRUNC = 0o1000;
export const APPEND = 0o2000;
export const PATH = 0o10000000;
export const TMPFILE = 0o20200000;
/** PROT_*, and the flags of mmap. */
export const READ = 1;
export const WRITE = 2;
export const SHARED = 1;
export const PRIVATE = 2;
export const PAGE = 4096;

export const TEXT = 'x'.repeat(3 * PAGE);
const PARTS: Parts = {
  lowers: [[file('f', TEXT), file('h1', TEXT), hardlink('h2', 'h1'), file('empty')]],
  upper: [file('up', TEXT)],
};
export const OPTIONS = ['data=passthrough'];
/** Place of st_ino among the words of lstat and fstat. */
export const INO = 7;

export const NEEDS = { root: true, fuse: true, stratafs: true, programs: ['gcc'] } as const;

export interface Scene {
  readonly reader: Client;
  readonly writer: Client;
  readonly mounted: Mounted;
  readonly fixture: Fixture;
}

async function lowersOf(fixture: Fixture): Promise<Manifest[]> {
  return Promise.all(fixture.stack.lowers.map(manifestOf));
}

/** Two processes on a mount; afterwards the lowers must be as they were, byte for byte. */
export async function scene(
  body: (scene: Scene) => Promise<void>,
  options: readonly string[] = [],
): Promise<void> {
  const fixture = await makeFixture('passthrough', PARTS);
  const [lower = ''] = fixture.stack.lowers;
  // What exits with 0, what exits with 1, and what goes on.
  for (const program of ['true', 'false', 'sleep']) {
    copyFileSync(`/bin/${program}`, join(lower, program));
  }
  const before = await lowersOf(fixture);
  await withMount(
    'stratafs',
    fixture.stack,
    fixture.mountpoint,
    async (reader, mounted) => body({ reader, writer: await mounted.client(), mounted, fixture }),
    [...OPTIONS, ...options],
  );
  expect(await lowersOf(fixture)).toEqual(before);
  rmSync(fixture.top, { recursive: true });
}

/** What `stratafs stats` tells of a mount. */
export async function statsOf(mounted: Mounted): Promise<Record<string, unknown>> {
  const ran = await mustRun(stratafsBinary(), ['stats', mounted.path, '--json']);
  return JSON.parse(ran.stdout) as Record<string, unknown>;
}
