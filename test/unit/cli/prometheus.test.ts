import { expect, test } from 'vitest';
import { prometheusText } from '../../../src/cli/prometheus.js';
import type { MountStats } from '../../../src/wire/stats.js';

const stats: MountStats = {
  protocol: '7.45',
  requests: { LOOKUP: 3 },
  bytesRead: 10,
  bytesWritten: 2 ** 53 - 1,
  latency: { LOOKUP: { requests: 3, mean: 2, p50: 2, p99: 3, buckets: [0, 1, 2] } },
  copyUps: 1,
  copiedBytes: 5,
  data: 'cached',
  inodes: 7,
  fds: 4,
  arena: 640,
  arenaPerInode: 91,
  listingCache: { hits: 1, misses: 2 },
  listings: { read: 1, shared: 0 },
  fdCache: { hits: 1, misses: 1 },
};

test('metrics have one head each, escaped labels and cumulative buckets', () => {
  const text = prometheusText([
    { mount: { mountpoint: '/a "b"', pid: 1 }, stats },
    { mount: { mountpoint: '/c', pid: 1 }, stats },
  ]);
  expect(text.match(/# TYPE stratafs_requests_total counter/g)).toHaveLength(1);
  expect(text).toContain('stratafs_requests_total{mountpoint="/a \\"b\\"",opcode="LOOKUP"} 3\n');
  expect(text).toContain('stratafs_written_bytes_total{mountpoint="/c"} 9007199254740991\n');
  const buckets = [...text.matchAll(/bucket\{mountpoint="\/c",opcode="LOOKUP",le="(.*)"\} (\d+)/g)];
  expect(buckets.map(([, le, count]) => [le, count])).toEqual([
    ['0.000001', '0'],
    ['0.000002', '1'],
    ['0.000004', '3'],
    ['+Inf', '3'],
  ]);
  expect(text).toContain(
    'stratafs_request_seconds_sum{mountpoint="/c",opcode="LOOKUP"} 0.000006\n',
  );
  for (const line of text.trim().split('\n')) {
    expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+\{.*\} [\d.e+-]+)$/);
  }
  expect(prometheusText([])).toBe('');
});
