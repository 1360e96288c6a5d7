/**
 * Random sequences of operations on stratafs and on kernel overlayfs: a few of them; `npm run fuzz`
 * does many.
 *
 * STRATAFS_SEED (first seed), STRATAFS_COUNT (sequences) and STRATAFS_LENGTH (operations each)
 * repeat a failure or search longer; STRATAFS_PAIR ("kernel,fuse-overlayfs") compares others.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { describe, expect, test } from 'vitest';
import { featuresOfSeed } from '../support/mount.js';
import { has } from '../support/needs.js';
import { caseOf, check, showCase } from './check.js';
import { PASSTHROUGH, pairNeeds, pairUnderTest } from './pair.js';

function setting(name: string, otherwise: number): number {
  return Number(process.env[name] ?? otherwise);
}

const FIRST = setting('STRATAFS_SEED', 1);
const COUNT = setting('STRATAFS_COUNT', 100);
const LENGTH = setting('STRATAFS_LENGTH', 60);
const SHRINK_SECONDS = setting('STRATAFS_SHRINK', 30);
const BATCH = 10;

/** Fails with the smallest case that still shows a difference of the same kind. */
async function mustAgree(seed: number, options: readonly string[] = []): Promise<void> {
  const pair = pairUnderTest(featuresOfSeed(seed), options);
  const finding = await check(pair, caseOf(seed, LENGTH, pair.features), SHRINK_SECONDS);
  if (finding === undefined) return;
  expect.fail(
    `STRATAFS_SEED=${seed} STRATAFS_COUNT=1 (${pair.features}), smallest case:\n` +
      showCase(finding.small, finding.differences),
  );
}

const pair = pairUnderTest('full');
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
      for (let seed = FIRST; seed < FIRST + BATCH; seed++) await mustAgree(seed);
    });
  });

  test(`seeds ${FIRST} to ${FIRST + BATCH - 1}, passed through`, async () => {
    for (let seed = FIRST; seed < FIRST + BATCH; seed++) {
      await mustAgree(seed, PASSTHROUGH);
    }
  });

  for (let from = FIRST; from < FIRST + COUNT; from += BATCH) {
    const to = Math.min(from + BATCH, FIRST + COUNT);
    test(`seeds ${from} to ${to - 1}`, async () => {
      for (let seed = from; seed < to; seed++) await mustAgree(seed);
    });
  }
});
