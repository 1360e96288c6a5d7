/**
 * Random sequences of operations on stratafs and on kernel overlayfs.
 *
 * STRATAFS_SEED (first seed), STRATAFS_COUNT (sequences) and STRATAFS_LENGTH (operations each)
 * repeat a failure or search longer; STRATAFS_PAIR ("kernel,fuse-overlayfs") compares others.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import { type Difference, type Pair, compare } from './compare.js';
import { someLayers } from './layers.js';
import { showOperation, someOperations } from './operations.js';
import { PASSTHROUGH, pairNeeds, pairUnderTest } from './pair.js';
import { Random } from './random.js';
import { type Case, shrink } from './shrink.js';

function setting(name: string, otherwise: number): number {
  return Number(process.env[name] ?? otherwise);
}

const FIRST = setting('STRATAFS_SEED', 1);
const COUNT = setting('STRATAFS_COUNT', 100);
const LENGTH = setting('STRATAFS_LENGTH', 60);
const SHRINK_SECONDS = setting('STRATAFS_SHRINK', 30);
const BATCH = 10;

function caseOf(seed: number): Case {
  const random = new Random(seed);
  const plain = seed % 5 === 0 ? 'broken' : 'none';
  const layers = someLayers(random, seed % 2 === 1 ? plain : 'kept');
  return { layers, operations: someOperations(random, layers.seen, LENGTH) };
}

function show({ layers, operations }: Case, found: readonly Difference[]): string {
  const entries = [...layers.lowers, layers.upper].map((layer, index) => {
    const name = index < layers.lowers.length ? `lower ${index}` : 'upper';
    return `${name}:\n${layer.map((entry) => `    ${JSON.stringify(entry)}`).join('\n')}`;
  });
  return [
    ...found.slice(0, 12).map((difference) => `${difference.where}: ${difference.text}`),
    ...entries,
    'operations:',
    ...operations.map((operation) => `    ${showOperation(operation)}`),
  ].join('\n');
}

/** An error here is a mount that hangs or dies: say which sequence it was. */
async function differencesOf(pair: Pair, start: Case, seed: number): Promise<Difference[]> {
  try {
    return await compare(pair, start.layers, start.operations);
  } catch (error) {
    throw new Error(`STRATAFS_SEED=${seed} STRATAFS_COUNT=1\n${show(start, [])}`, { cause: error });
  }
}

/** A candidate that cannot be built (an entry without its parent) is not a smaller case. */
async function failsAs(pair: Pair, candidate: Case, where: Difference['where']): Promise<boolean> {
  try {
    const found = await compare(pair, candidate.layers, candidate.operations);
    return found.some((difference) => difference.where === where);
  } catch {
    return false;
  }
}

/** Fails with the smallest case that still shows a difference of the same kind. */
async function check(pair: Pair, seed: number): Promise<void> {
  const start = caseOf(seed);
  const found = await differencesOf(pair, start, seed);
  const first = found.at(0);
  if (first === undefined) return;
  const small = await shrink(
    start,
    (candidate) => failsAs(pair, candidate, first.where),
    SHRINK_SECONDS,
  );
  const again = await differencesOf(pair, small, seed);
  expect.fail(
    `STRATAFS_SEED=${seed} STRATAFS_COUNT=1: ${first.text}\nsmallest case:\n${show(small, again)}`,
  );
}

/** Odd seeds compare plain uppers, even ones redirects, metadata-only copies and the index. */
const pairOf = (seed: number): Pair => pairUnderTest(seed % 2 === 1 ? 'plain' : 'full');
const pair = pairOf(FIRST);
const ready = has(pairNeeds(pair));

/** What the kernel has forgotten it looks up anew, at any moment: the engine must know it again. */
async function whileCachesDrop(body: () => Promise<void>): Promise<void> {
  const timer = setInterval(() => {
    writeFileSync('/proc/sys/vm/drop_caches', '2');
  }, 50);
  try {
    await body();
  } finally {
    clearInterval(timer);
  }
}

describe.skipIf(!ready)(`${pair.subject} and ${pair.reference} agree on random operations`, () => {
  test(`seeds ${FIRST} to ${FIRST + BATCH - 1} while the kernel forgets`, async () => {
    await whileCachesDrop(async () => {
      for (let seed = FIRST; seed < FIRST + BATCH; seed++) await check(pairOf(seed), seed);
    });
  });

  test(`seeds ${FIRST} to ${FIRST + BATCH - 1}, passed through`, async () => {
    for (let seed = FIRST; seed < FIRST + BATCH; seed++) {
      await check({ ...pairOf(seed), options: PASSTHROUGH }, seed);
    }
  });

  for (let from = FIRST; from < FIRST + COUNT; from += BATCH) {
    const to = Math.min(from + BATCH, FIRST + COUNT);
    test(`seeds ${from} to ${to - 1}`, async () => {
      for (let seed = from; seed < to; seed++) await check(pairOf(seed), seed);
    });
  }
});
