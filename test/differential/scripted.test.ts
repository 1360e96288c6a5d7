import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import { compare } from './compare.js';
import { PASSTHROUGH, pairNeeds, pairUnderTest } from './pair.js';
import { LAYERS, SCRIPTS } from './scripts.js';

const PAIRS = [pairUnderTest('plain'), pairUnderTest('full'), pairUnderTest('full', PASSTHROUGH)];

for (const pair of PAIRS) {
  const how = [pair.features, ...pair.options].join(', ');
  const title = `${pair.subject} and ${pair.reference} agree (${how})`;
  describe.skipIf(!has(pairNeeds(pair)))(title, () => {
    for (const [script, operations] of Object.entries(SCRIPTS)) {
      test(script, async () => {
        const found = await compare(pair, LAYERS, operations);
        expect(found.map(({ where, text }) => `${where}: ${text}`)).toEqual([]);
      });
    }
  });
}
