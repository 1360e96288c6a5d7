/**
 * The same operations without privilege: stratafs and kernel overlayfs (with userxattr) in the user
 * namespace of an ordinary user.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientBinary } from '../support/client.js';
import { has } from '../support/needs.js';
import { enterUserNamespace } from '../support/place.js';
import type { Entry } from '../support/tree.js';
import { compare } from './compare.js';
import { type Layers, someLayers } from './layers.js';
import { someOperations } from './makers.js';
import { pairNeeds, pairUnderTest } from './pair.js';
import { Random } from './random.js';
import { LAYERS, SCRIPTS } from './scripts.js';

const SEEDS = 12;
const LENGTH = 60;
const pair = pairUnderTest('user');

/** The entry as an ordinary user can make it: marks in `user.`, no other trusted.*, no devices. */
function unprivileged(entry: Entry): Entry {
  const xattrs = Object.entries(entry.xattrs ?? {})
    .map(([key, value]) => [key.replace(/^trusted\.overlay\./, 'user.overlay.'), value] as const)
    .filter(([key]) => !key.startsWith('trusted.'));
  const plain = { ...entry, xattrs: Object.fromEntries(xattrs) };
  const device = plain.kind === 'node' && (plain.major !== 0 || plain.minor !== 0);
  return device ? { ...plain, type: 'fifo', major: 0, minor: 0 } : plain;
}

const rootless = (layers: Layers): Layers => ({
  ...layers,
  lowers: layers.lowers.map((entries) => entries.map(unprivileged)),
  upper: layers.upper.map(unprivileged),
});

describe.skipIf(!has({ ...pairNeeds(pair), programs: ['gcc', 'nsenter'], namespaces: true }))(
  `${pair.subject} and ${pair.reference} agree in a user namespace`,
  () => {
    let leave = (): void => undefined;
    beforeAll(async () => {
      leave = await enterUserNamespace(await clientBinary());
    });
    afterAll(() => {
      leave();
    });

    for (const [script, operations] of Object.entries(SCRIPTS)) {
      test(script, async () => {
        const found = await compare(pair, rootless(LAYERS), operations);
        expect(found.map(({ where, text }) => `${where}: ${text}`)).toEqual([]);
      });
    }

    for (let seed = 1; seed <= SEEDS; seed++) {
      test(`random operations, seed ${seed}`, async () => {
        const random = new Random(seed);
        const layers = rootless(someLayers(random, seed % 5 === 0 ? 'broken' : 'none'));
        const operations = someOperations(random, layers.seen, LENGTH);
        const found = await compare(pair, layers, operations);
        expect(found.map(({ where, text }) => `${where}: ${text}`)).toEqual([]);
      });
    }
  },
);
