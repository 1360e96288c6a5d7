import { describe, expect, it } from 'vitest';
import type { EngineThread } from '../../../src/mount/engineThread.js';
import { ThreadPool } from '../../../src/mount/threadPool.js';

/** Placement only looks at `mounts` and `dead`. */
const fakeThread = (): EngineThread => ({ mounts: new Set(), dead: false }) as never;

describe('the thread pool', () => {
  it('starts no more threads than its limit and spreads mounts over them', () => {
    const pool = new ThreadPool(2, fakeThread);
    for (let number = 1; number <= 6; number++) {
      pool.place(number, new Set());
      pool.provide();
    }
    expect([...pool.threads].map(({ mounts }) => mounts.size)).toEqual([3, 3]);
  });

  it('keeps a mount off the threads that serve its layers, over any number of steps', () => {
    const pool = new ThreadPool(1, fakeThread);
    const first = pool.place(1, new Set());
    const second = pool.place(2, new Set([first]));
    const third = pool.place(3, new Set([second]));
    expect(new Set([first, second, third]).size).toBe(3);
  });

  // A mount on thread 1 whose layer thread 2 serves would wait for thread 2, which may wait for
  // thread 1 because of another mount: neither would ever answer.
  it('never lets two threads wait for each other', () => {
    const pool = new ThreadPool(2, fakeThread);
    const one = pool.place(1, new Set());
    const two = pool.place(2, new Set([one]));
    pool.place(3, new Set());
    const layer = [...pool.threads].find((thread) => thread.mounts.has(3));
    expect(layer).toBe(one);
    const free = pool.place(4, new Set());
    expect([one, two]).toContain(free);
    const nested = pool.place(5, new Set([two]));
    expect([one, two]).not.toContain(nested);
  });

  it('forgets the waits of a mount that is over', () => {
    const pool = new ThreadPool(2, fakeThread);
    const one = pool.place(1, new Set());
    const two = pool.place(2, new Set([one]));
    pool.remove(2);
    pool.place(3, new Set([two]));
    expect([...pool.threads].find((thread) => thread.mounts.has(3))).toBe(one);
  });
});
