/** Commands of the store that are killed at moments spread over the time they take. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { listImages } from '../../../src/store/images/list.js';
import { isSound, verifyLayer } from '../../../src/store/layers/verify.js';
import { fsck } from '../../../src/store/mend/fsck.js';
import { openStore } from '../../../src/store/state/store.js';
import { stratafsBinary } from '../../support/needs.js';
import type { TestStore } from './store.js';

/** Starts stratafs in a process group of its own; resolves when it has ended by itself. */
export function start(root: string, args: readonly string[]) {
  const child = spawn(stratafsBinary(), ['--root', root, ...args], {
    detached: true,
    stdio: 'ignore',
  });
  const ended = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? -1)));
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, name);
    } catch {
      // It has ended already.
    }
  };
  return { ended, signal };
}

/** Every image that is listed is whole; then fsck mends all it finds, and finds nothing more. */
export async function expectWhole(root: string): Promise<number> {
  const store = await openStore({ root, sync: false });
  const images = listImages(store);
  for (const layer of new Set(images.flatMap(({ record }) => record.layers))) {
    const verified = await verifyLayer(store, layer);
    expect(isSound(verified), JSON.stringify(verified)).toBe(true);
  }
  const findings = await fsck(store);
  expect(findings.filter(({ mended }) => mended === undefined)).toEqual([]);
  expect(await fsck(store, { deep: true })).toEqual([]);
  return images.length;
}

interface Killing {
  readonly args: readonly string[];
  readonly kills: number;
  /** Before each. */
  readonly prepare: () => Promise<unknown>;
  /** After each kill. */
  readonly after: () => Promise<unknown>;
}

/** Kills `args` again and again, and lets them end by themselves once more. */
export async function killedAtAnyMoment(
  store: TestStore,
  { args, kills, prepare, after }: Killing,
): Promise<void> {
  await prepare();
  const begun = performance.now();
  expect(await start(store.root, args).ended).toBe(0);
  const whole = performance.now() - begun;
  for (let i = 0; i < kills; i++) {
    await prepare();
    const { ended, signal } = start(store.root, args);
    await sleep((whole * (i + 0.5)) / kills);
    signal('SIGKILL');
    await ended;
    await after();
  }
  await prepare();
  expect(await start(store.root, args).ended).toBe(0);
}
