import { describe, expect, it } from 'vitest';
import type { EngineWorker } from '../../../src/host/engineWorker.js';
import { WorkerPool } from '../../../src/host/workerPool.js';

/** Placement only looks at `mounts` and `dead`. */
const fakeThread = (): EngineWorker =>
  ({ mounts: new Set(), dead: false, stuck: false, started: true, end: () => undefined }) as never;

describe('the thread pool', () => {
  it('starts no more threads than its limit and spreads mounts over them', () => {
    const pool = new WorkerPool(2, fakeThread);
    for (let number = 1; number <= 6; number++) {
      pool.place(number, new Set(), String(number));
      pool.provide();
    }
    // The last one looks at paths.
    expect([...pool.threads].map(({ mounts }) => mounts.size)).toEqual([3, 3, 0]);
  });

  it('keeps a mount off the threads that serve its layers, over any number of steps', () => {
    const pool = new WorkerPool(1, fakeThread);
    const first = pool.place(1, new Set(), '1');
    const second = pool.place(2, new Set([first]), '2');
    const third = pool.place(3, new Set([second]), '3');
    expect(new Set([first, second, third]).size).toBe(3);
  });

  // A mount on thread 1 whose layer thread 2 serves would wait for thread 2, which may wait for
  // thread 1 because of another mount: neither would ever answer.
  it('never lets two threads wait for each other', () => {
    const pool = new WorkerPool(2, fakeThread);
    const one = pool.place(1, new Set(), '1');
    const two = pool.place(2, new Set([one]), '2');
    pool.place(3, new Set(), '3');
    const layer = [...pool.threads].find((thread) => thread.mounts.has(3));
    expect(layer).toBe(one);
    const free = pool.place(4, new Set(), '4');
    expect([one, two]).toContain(free);
    const nested = pool.place(5, new Set([two]), '5');
    expect([one, two]).not.toContain(nested);
  });

  it('forgets the waits of a mount that is over', () => {
    const pool = new WorkerPool(2, fakeThread);
    const one = pool.place(1, new Set(), '1');
    const two = pool.place(2, new Set([one]), '2');
    pool.remove(2);
    pool.place(3, new Set([two]), '3');
    expect([...pool.threads].find((thread) => thread.mounts.has(3))).toBe(one);
  });

  it('gives two mounts of the same lowers a thread each', () => {
    const pool = new WorkerPool(2, fakeThread);
    const one = pool.place(1, new Set(), 'image');
    pool.provide();
    expect(pool.place(2, new Set(), 'image')).not.toBe(one);
  });

  it('lets the same lowers outweigh a mount in five, not more', () => {
    const pool = new WorkerPool(2, fakeThread);
    for (let number = 1; number <= 8; number++) {
      pool.place(number, new Set(), String(number));
      pool.provide();
    }
    const [one, two] = [...pool.threads] as [EngineWorker, EngineWorker];
    expect([one.mounts.size, two.mounts.size]).toEqual([4, 4]);
    const lowers = String([...two.mounts][0]);
    expect(pool.place(9, new Set(), lowers)).toBe(two);
    expect(pool.place(10, new Set(), lowers)).toBe(one);
    expect([one.mounts.size, two.mounts.size]).toEqual([5, 5]);
  });
});
