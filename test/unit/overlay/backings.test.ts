/** Which backing files stay registered, without a kernel. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Backings } from '../../../src/overlay/data/backings.js';
import { Random } from '../../differential/random.js';

let live: Set<number>;
let last: number;
let backings: Backings;

function make(idleMax: number): Backings {
  live = new Set();
  last = 0;
  return new Backings(
    {
      open: (fd) => {
        if (fd < 0) return fd;
        live.add(++last);
        return last;
      },
      close: (id) => {
        if (!live.delete(id)) throw new Error(`id ${id} closed twice`);
      },
      invalidate: () => undefined,
    },
    idleMax,
  );
}

beforeEach(() => {
  backings = make(2);
});

describe('backing files', () => {
  it('have one id for all opens, and keep it after the last close', () => {
    const id = backings.add(7, 3);
    for (let i = 0; i < 3; i++) backings.hold(7);
    for (let i = 0; i < 3; i++) backings.release(7);
    expect([backings.get(7), backings.isOpen(7), backings.size]).toEqual([id, false, 1]);
    expect([backings.open, backings.opened, backings.registered]).toEqual([0, 3, 1]);
  });

  it('give up the one closed longest ago, never one that is open', () => {
    for (const node of [1, 2, 3, 4]) {
      backings.add(node, 3);
      backings.hold(node);
    }
    for (const node of [3, 1, 2]) backings.release(node);
    expect([1, 2, 3, 4].map((node) => backings.get(node) !== 0)).toEqual([true, true, false, true]);
    backings.hold(1);
    backings.release(1);
    backings.release(4);
    expect([1, 2, 4].map((node) => backings.get(node) !== 0)).toEqual([true, false, true]);
    expect(live.size).toBe(backings.size);
  });

  it('are given up when the data moves: at once when closed, else with the last close', () => {
    backings.add(1, 3);
    backings.moved(1);
    expect([backings.get(1), live.size]).toEqual([0, 0]);
    const id = backings.add(1, 3);
    backings.hold(1);
    backings.moved(1);
    expect([backings.isStale(1), live.has(id)]).toEqual([true, true]);
    backings.release(1);
    expect([backings.isStale(1), backings.get(1), live.size]).toEqual([false, 0, 0]);
    backings.add(1, 3);
    expect(backings.isStale(1)).toBe(false);
  });

  it('leave nothing behind when one cannot be registered', () => {
    expect(backings.add(1, -40)).toBe(-40);
    expect([backings.size, backings.get(1)]).toEqual([0, 0]);
  });

  it.each([1, 2, 3])('agree with a count of opens over random operations (seed %i)', (seed) => {
    const random = new Random(seed);
    const idleMax = 5;
    backings = make(idleMax);
    const opens = new Map<number, number>();
    for (let i = 0; i < 5000; i++) {
      const node = 1 + random.below(200);
      const count = opens.get(node) ?? 0;
      const action = random.below(10);
      if (action < 4) {
        if (backings.get(node) === 0) backings.add(node, 3);
        backings.hold(node);
        opens.set(node, count + 1);
      } else if (action < 9) {
        if (count > 0) backings.release(node);
        opens.set(node, Math.max(0, count - 1));
      } else if (random.below(4) === 0) backings.moved(node);
    }
    const open = [...opens].filter(([, count]) => count > 0);
    expect(backings.open).toBe(open.reduce((sum, [, count]) => sum + count, 0));
    for (const [node] of open) expect(backings.isOpen(node)).toBe(true);
    expect(live.size).toBe(backings.size);
    expect(backings.size).toBeLessThanOrEqual(open.length + idleMax);
  });
});
