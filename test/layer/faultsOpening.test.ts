/**
 * The bounded part of the sweep over what opens layers (test/faults/openings.ts): mounts of each kind and
 * diff, each of their system calls failing, once, with errors by turns. `npm run faults` does all of it.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/sys/native.js';
import { Bed, CONFIGS } from '../faults/bed.js';
import { type Opening, type OpeningCase, OPENINGS, OpeningSweep } from '../faults/openings.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

/** For one opening, on a machine that has much else to do. */
const TIMEOUT_MS = 120_000;
/** Of the many calls that read a whole tree each n-th fails. */
const EACH: Partial<Record<Opening, number>> = { diff: 3, tar: 6, 'bare diff': 3 };

/** For each call one of the errors that it can fail with, by turns. */
function byTurns(cases: Iterable<OpeningCase>, each: number): OpeningCase[] {
  const byCall = new Map<number, OpeningCase[]>();
  for (const one of cases) byCall.set(one.call, [...(byCall.get(one.call) ?? []), one]);
  return [...byCall.values()]
    .filter((_, i) => i % each === 0)
    .flatMap((all, turn) => all.slice(turn % all.length).slice(0, 1));
}

describe.skipIf(!has({ root: true, kernelOverlay: true }))('a call fails while opening', () => {
  let top = '';
  let sweep: OpeningSweep;
  const umask = process.umask(0);
  beforeAll(async () => {
    top = scratch('openings');
    if (loadNative().mount('tmpfs', top, 'tmpfs', 0, 'size=256m') < 0) throw new Error('no tmpfs');
    mkdirSync(join(top, 'bed'));
    sweep = new OpeningSweep(await Bed.make(join(top, 'bed'), CONFIGS.default));
  });
  afterAll(() => {
    process.umask(umask);
    loadNative().umount2(top, 2);
    rmSync(top, { recursive: true, force: true });
  });

  it.each(OPENINGS)('%s', { timeout: TIMEOUT_MS }, async (opening) => {
    expect(await sweep.learn(opening)).toBe('');
    const cases = byTurns(sweep.cases(opening), EACH[opening] ?? 1);
    const wrong: string[] = [];
    for (const one of cases) {
      const found = await sweep.check(one);
      if (found !== '') wrong.push(`${one.call} ${one.made.call} ${one.error}: ${found}`);
    }
    expect(wrong).toEqual([]);
    expect(cases.length).toBeGreaterThan(10);
  });
});
