import { expect, it } from 'vitest';
import { latencyOf } from '../../../src/fuse/stats.js';

/** BUCKETS numbers, the first of them given. */
const counts = (...some: number[]): number[] => [
  ...some,
  ...new Array<number>(24 - some.length).fill(0),
];

it('interpolates quantiles within the bucket they fall in', () => {
  // 50 of 0 to 1 µs, 40 of 2 to 4 µs, 10 of 8 to 16 µs.
  const latency = latencyOf(counts(50, 0, 40, 0, 10), 275);
  expect(latency).toEqual({
    requests: 100,
    mean: 2.8,
    p50: 1,
    p99: 15.2,
    buckets: [50, 0, 40, 0, 10],
  });
});

it('knows nothing of requests that were not answered yet', () => {
  const none = { requests: 0, mean: 0, p50: 0, p99: 0, buckets: [] };
  expect(latencyOf(counts(), 0)).toEqual(none);
});

it('takes the last bucket for all that took longer', () => {
  const all = new Array<number>(24).fill(0).with(23, 2);
  expect(latencyOf(all, 20_000_000)).toMatchObject({
    requests: 2,
    mean: 10_000_000,
    p50: 6_291_456,
  });
});
