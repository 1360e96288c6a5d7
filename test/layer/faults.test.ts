/**
 * The bounded part of the sweep (test/faults): every operation with each of its system calls failing, once,
 * in the default configuration, with caches and errors by turns. `npm run faults` does all of it.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bed, CACHES, CONFIGS } from '../faults/bed.js';
import { OPERATIONS } from '../faults/operations.js';
import { type Case, Sweep } from '../faults/sweep.js';
import { loadNative } from '../../src/sys/native.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

/** For one operation, on a machine that has much else to do. */
const TIMEOUT_MS = 180_000;

/** For each call one of the errors that it can fail with, by turns. */
function byTurns(cases: Iterable<Case>): Case[] {
  const byCall = new Map<number, Case[]>();
  for (const one of cases) byCall.set(one.call, [...(byCall.get(one.call) ?? []), one]);
  return [...byCall.values()].flatMap((all, turn) => all.slice(turn % all.length).slice(0, 1));
}

describe.skipIf(!has({ root: true, kernelOverlay: true }))('one system call fails', () => {
  let top = '';
  let sweep: Sweep;
  const umask = process.umask(0);
  beforeAll(async () => {
    top = scratch('faults');
    if (loadNative().mount('tmpfs', top, 'tmpfs', 0, 'size=256m') < 0) throw new Error('no tmpfs');
    mkdirSync(join(top, 'bed'));
    sweep = new Sweep(await Bed.make(join(top, 'bed'), CONFIGS.default));
  });
  afterAll(() => {
    process.umask(umask);
    loadNative().umount2(top, 2);
    rmSync(top, { recursive: true, force: true });
  });

  let turn = 0;
  for (const [operation, steps] of Object.entries(OPERATIONS)) {
    it(operation, { timeout: TIMEOUT_MS }, () => {
      const cache = CACHES[turn++ % CACHES.length] ?? 'cold';
      expect(sweep.learn(cache, operation, steps)).toBe('');
      const cases = byTurns(sweep.cases(cache, operation, steps));
      const wrong = cases
        .map((one) => ({ one, found: sweep.check(one) }))
        .filter(({ found }) => found !== '')
        .map(({ one, found }) => `${one.call} ${one.made.call} ${one.error}: ${found}`);
      expect(wrong).toEqual([]);
      expect(cases.length).toBeGreaterThan(0);
    });
  }
});
