/**
 * A union whose layers, upper and workdir lie in a mount of stratafs does what kernel overlayfs does on a
 * plain file system; and its upper is the same after both have been mounted again.
 */
import process from 'node:process';
import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import { caseOf, check, showCase } from './check.js';
import { compare, type Pair } from './compare.js';
import { PASSTHROUGH } from './pair.js';
import { LAYERS, SCRIPTS } from './scripts.js';

const NEEDS = {
  ...{ root: true, fuse: true, kernelOverlay: true, stratafs: true },
  programs: ['gcc'],
};
const reference = 'kernel';

/** With the written sequences, too. */
const SCRIPTED: readonly Pair[] = [
  { subject: 'kernel', reference, features: 'unindexed', options: [], inside: [] },
  { subject: 'stratafs', reference, features: 'unindexed', options: [], inside: [] },
];
const PAIRS: readonly Pair[] = [
  ...SCRIPTED,
  { subject: 'kernel', reference, features: 'plain', options: [], inside: [] },
  { subject: 'kernel', reference, features: 'unindexed', options: [], inside: PASSTHROUGH },
  { subject: 'stratafs', reference, features: 'plain', options: [], inside: PASSTHROUGH },
];
/**
 * Kernel overlayfs asks FUSE whether a file is still at the name it was copied up under, and, when that
 * name has gone, answers ESTALE for its other hard links until it forgets the file.
 */
const STALE_LINKS = 'links are made to files of any layer';
const FIRST = Number(process.env['STRATAFS_SEED'] ?? 1);
const COUNT = Number(process.env['STRATAFS_COUNT'] ?? 5);
const LENGTH = 60;

for (const pair of PAIRS) {
  const inside = ['stratafs', ...(pair.inside ?? [])].join(', ');
  const title = `${pair.subject} (${pair.features}) inside ${inside}`;
  describe.skipIf(!has(NEEDS))(title, () => {
    const scripts = SCRIPTED.includes(pair) ? Object.entries(SCRIPTS) : [];
    for (const [script, operations] of scripts) {
      if (pair.subject === 'kernel' && script === STALE_LINKS) continue;
      test(script, async () => {
        const found = await compare(pair, LAYERS, operations);
        expect(found.map(({ where, text }) => `${where}: ${text}`)).toEqual([]);
      });
    }

    for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
      test(`seed ${seed}`, async () => {
        const finding = await check(pair, caseOf(seed, LENGTH, pair.features), 30);
        if (finding !== undefined) expect.fail(showCase(finding.small, finding.differences));
      });
    }
  });
}
