/** What `npm run fuzz` has found: every replay file is a regression. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import { compare } from './compare.js';
import { pairNeeds, pairUnderTest } from './pair.js';
import { readReplay, REPLAYS } from './replay.js';

const files = existsSync(REPLAYS) ? readdirSync(REPLAYS).sort() : [];

describe.skipIf(!has(pairNeeds(pairUnderTest('full'))))('sequences that once differed', () => {
  for (const file of files.filter((name) => name.endsWith('.json')))
    test(file, async () => {
      const replay = readReplay(join(REPLAYS, file));
      const pair = pairUnderTest(replay.features);
      const found = await compare(pair, replay.case.layers, replay.case.operations);
      expect(found.map(({ where, text }) => `${where}: ${text}`)).toEqual([]);
    });
});
