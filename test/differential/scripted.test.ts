import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import { compare } from './compare.js';
import { pairUnderTest, pairNeeds } from './pair.js';
import { LAYERS, SCRIPTS } from './scripts.js';

const pair = pairUnderTest();

describe.skipIf(!has(pairNeeds(pair)))(`${pair.subject} and ${pair.reference} agree`, () => {
  for (const [title, operations] of Object.entries(SCRIPTS)) {
    test(title, async () => {
      const found = await compare(pair, LAYERS, operations);
      expect(found.map(({ where, text }) => `${where}: ${text}`)).toEqual([]);
    });
  }
});
