/** Hard links and the index when the engine dies between two changes of the disk. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Native } from '../../src/sys/native.js';
import { Engine } from '../support/engine.js';
import { NAMES, operations, PARTS } from '../support/links.js';
import { has } from '../support/needs.js';

let e: Engine;
beforeEach(async () => {
  e = await Engine.open(PARTS);
});
afterEach(() => {
  e.close();
});
const { write, unlink, rename, link, nlink } = operations(() => e);
const remount = (): void => {
  e = e.reopen(PARTS);
};

describe.skipIf(!has({ root: true }))('after a crash at any step', () => {
  const MUTATING = [
    ...['mknodat', 'mkdirat', 'linkat', 'symlinkat', 'renameat2', 'unlinkat', 'fchownat'],
    ...['fchmodat', 'utimensat', 'setxattr', 'removexattr', 'copyData', 'ftruncate', 'pwrite'],
  ] as const;
  type Change = (typeof MUTATING)[number];
  type Call = (...args: unknown[]) => number;

  /** From the `last`-th change of the disk on, all fail. Returns what lifts that. */
  function crashAfter(last: number): { lift: () => void; reached: () => boolean } {
    const sys = e.sys as { native: Native };
    const real = sys.native;
    const failing = Object.create(real) as Record<Change, Call>;
    let count = 0;
    for (const name of MUTATING) {
      const call = real[name].bind(real) as Call;
      const value: Call = (...args) => (++count > last ? -5 : call(...args));
      Object.defineProperty(failing, name, { value });
    }
    sys.native = failing as unknown as Native;
    const lift = (): void => {
      sys.native = real;
    };
    return { lift, reached: () => count > last };
  }
  const quietly = (change: () => void): void => {
    try {
      change();
    } catch (error) {
      // The request fails with the EIO of the step that failed.
      if (!/got -5/.test(String(error))) throw error;
    }
  };
  const there = (): string[] => [...NAMES, 'd/new'].filter((name) => e.node(name) !== 0);

  const changes: readonly (readonly [string, () => void])[] = [
    ['a write', () => write(e.node('a'), 'M')],
    ['a write by a name the upper lacks', () => write(e.node('b'), 'M')],
    ['a removal', () => unlink('a')],
    ['a removal of a name the upper lacks', () => unlink('b')],
    ['a rename', () => rename('b', 'd/new')],
    ['a replacement', () => rename('x', 'd/c')],
    ['a new link', () => link(e.node('b'), 'd/new')],
    ['the removal of all names', () => NAMES.forEach(unlink)],
  ];

  it.each(
    changes.flatMap(([title, change]) => [
      { title: `${title}, the first change`, change, before: false },
      { title: `${title}, after a change`, change, before: true },
    ]),
  )('of $title no name is lost or old, and the links are never too few', async (made) => {
    for (let step = 0, reached = true; reached; step++) {
      e.close();
      e = await Engine.open(PARTS);
      if (made.before) {
        write(e.node('a'), 'L');
        remount();
      }
      const crash = crashAfter(step);
      quietly(made.change);
      reached = crash.reached();
      crash.lift();
      const texts = made.before ? ['Lower', 'Mower'] : ['lower', 'Mower'];
      remount();
      const left = there().filter((name) => e.text(name) !== 'x');
      const seen = new Set(left.map((name) => e.text(name)));
      expect(seen.size, `step ${step}`).toBeLessThan(2);
      for (const text of seen) expect(texts, `step ${step}`).toContain(text);
      for (const name of left) {
        expect(nlink(e.node(name)), `step ${step}`).toBeGreaterThanOrEqual(left.length);
      }
      if (left.length < 3) expect(made.title, `step ${step}`).not.toContain('write');
      // And the same once more, now that the mount has cleaned up.
      remount();
      expect(
        left.map((name) => e.text(name)),
        `step ${step}`,
      ).toEqual(left.map(() => [...seen][0]));
    }
  });
});
