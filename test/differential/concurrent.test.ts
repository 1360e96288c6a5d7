/**
 * Several processes change one mount at once. No answer can be foretold, but none may be an error of
 * the server's own, and what is seen at the end must be what the upper says: to stratafs after a
 * remount, and to kernel overlayfs.
 */
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { DRIVER, type Fixture, makeFixture, mounting } from '../support/fixture.js';
import { featureOptions, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { type Manifest, differences, manifest, manifestOf } from '../support/tree.js';
import { someLayers } from './layers.js';
import { someOwnOperations } from './makers.js';
import { type Operation, showOperation } from './operations.js';
import { pairNeeds } from './pair.js';
import { Random } from './random.js';

const CLIENTS = 4;
const LENGTH = 400;
const SEEDS = [1, 2, 3, 4, 5, 6];

/** Errors that no file system may answer to these operations. */
const NEVER = new Set([
  'EIO',
  'ESTALE',
  'ENOTCONN',
  'ECONNABORTED',
  'EPROTO',
  'ENOSYS',
  'EREMOTEIO',
]);

async function perform(client: Client, operations: readonly Operation[]): Promise<string[]> {
  const results = await Promise.all(
    operations.map(([name, ...words]) => client.call(name, ...words)),
  );
  return results.flatMap(({ errno }, i) =>
    errno !== undefined && NEVER.has(errno)
      ? [`${showOperation(operations[i] ?? [''])}: ${errno}`]
      : [],
  );
}

async function together(fixture: Fixture, scripts: readonly Operation[][]): Promise<Manifest> {
  return mounting(fixture, async (first, mounted) => {
    const others = await Promise.all(scripts.slice(1).map(() => mounted.client()));
    const clients = [first, ...others];
    const errors = await Promise.all(clients.map((client, i) => perform(client, scripts[i] ?? [])));
    expect(errors.flat()).toEqual([]);
    await Promise.all(others.map((client) => client.close()));
    await first.must('ident', 0, 0);
    return manifest(first);
  });
}

const PAIR = { subject: DRIVER, reference: 'kernel', features: 'full', options: [] } as const;

describe.skipIf(!has(pairNeeds(PAIR)))('several processes', () => {
  for (const seed of SEEDS)
    test(`change one mount at once (seed ${seed})`, async () => {
      const random = new Random(seed);
      const layers = someLayers(random, 'none');
      const fixture = await makeFixture('concurrent', layers);
      const before = await Promise.all(fixture.stack.lowers.map(manifestOf));
      const scripts = Array.from({ length: CLIENTS }, (_, i) =>
        someOwnOperations(new Random(seed * 100 + i), layers.seen, LENGTH),
      );
      const seen = await together(fixture, scripts);
      const again = await mounting(fixture, (client) => manifest(client));
      expect(differences(seen, again), 'after a remount').toEqual([]);
      const kernel = await withMount(
        'kernel',
        fixture.stack,
        fixture.mountpoint,
        (client) => manifest(client),
        featureOptions('kernel', 'full'),
      );
      const ignore = (_: string, field: string): boolean => field === 'd_ino';
      expect(differences(seen, kernel, ignore), 'in kernel overlayfs').toEqual([]);
      const after = await Promise.all(fixture.stack.lowers.map(manifestOf));
      for (const [i, tree] of before.entries())
        expect(differences(tree, after[i] ?? new Map()), `lower ${i}`).toEqual([]);
    });
});
