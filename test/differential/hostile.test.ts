/**
 * Hostile layers: stratafs does what kernel overlayfs does with them, and the upper stays readable by
 * both. Not with metacopy=off, where stratafs still reads the copies that kernel overlayfs refuses.
 */
import { describe, expect, test } from 'vitest';
import { has } from '../support/needs.js';
import { compare } from './compare.js';
import { HOSTILE } from './hostile.js';
import { pairNeeds, pairUnderTest } from './pair.js';

const pair = pairUnderTest('full');

describe.skipIf(!has(pairNeeds(pair)))('hostile layers', () => {
  test.each(Object.entries(HOSTILE))('%s', async (_, { layers, operations }) => {
    const found = await compare(pair, layers, operations);
    expect(found.map(({ where, text }) => `${where}: ${text}`)).toEqual([]);
  });
});
