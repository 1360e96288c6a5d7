import { expect, it } from 'vitest';
import { forPeople } from '../../../src/cli/stats.js';
import type { MountStats } from '../../../src/wire/stats.js';

it('says in plain words what a mount did, the most frequent request first', () => {
  const latency = { requests: 2, mean: 10.2, p50: 12, p99: 1500, buckets: [] };
  const stats: MountStats = {
    protocol: '7.45',
    requests: { INIT: 1, LOOKUP: 12_345 },
    latency: { INIT: { ...latency, mean: 2_500_000 }, LOOKUP: latency },
    bytesRead: 1536,
    bytesWritten: 0,
    copyUps: 2,
    copiedBytes: 3 * 2 ** 30,
    inodes: 1000,
    fds: 7,
    arena: 200_000,
    arenaPerInode: 200,
    listingCache: { hits: 0, misses: 0 },
    listings: { read: 0, shared: 0 },
    fdCache: { hits: 999, misses: 1 },
    data: 'cached',
  };
  expect(forPeople(stats)).toBe(`\
data         cached; 1.5 KiB read, 0 B written
copy-ups     2, 3.0 GiB of data
inodes       1,000, 200 bytes each, 195.3 KiB
listings     0 read, 0 shared, never asked for
descriptors  7 open in the engine thread, 99.9 % of 1,000 answered from what is kept

request   count   mean    p50     p99
LOOKUP   12,345  10 µs  12 µs  1.5 ms
INIT          1  2.5 s  12 µs  1.5 ms
`);
  const passing = { data: 'passthrough', open: 2, opens: 1300, backings: 40 } as const;
  expect(forPeople({ ...stats, ...passing })).toContain(`\
data         passthrough; 1.5 KiB read, 0 B written
files        1,300 opened, 2 open now, 40 known to the kernel
`);
});
