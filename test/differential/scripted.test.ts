import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import { compare } from './compare.js';
import { pairUnderTest, pairNeeds } from './pair.js';
import { LAYERS, SCRIPTS } from './scripts.js';
import { USER_SCRIPTS } from './userScripts.js';

for (const features of ['plain', 'full'] as const) {
  const pair = pairUnderTest(features);
  const title = `${pair.subject} and ${pair.reference} agree (${features})`;
  describe.skipIf(!has(pairNeeds(pair)))(title, () => {
    for (const [script, operations] of Object.entries({ ...SCRIPTS, ...USER_SCRIPTS })) {
      test(script, async () => {
        const found = await compare(pair, LAYERS, operations);
        expect(found.map(({ where, text }) => `${where}: ${text}`)).toEqual([]);
      });
    }
  });
}
