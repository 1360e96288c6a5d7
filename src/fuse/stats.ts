/** Counts what a mount has done, for `stratafs stats`. */
import { Op, opcodeName } from '../protocol/opcodes.js';
import type { FdCache } from '../overlay/data/fdCache.js';
import { BUCKETS, BYTES_READ, BYTES_WRITTEN, ELAPSED, HISTOGRAMS } from '../sys/tally.js';
import type { Latency, MountStats } from '../wire/stats.js';
import type { Served } from './served.js';

const NS_PER_US = 1000;

export function statsOf(served: Served, fds: FdCache): MountStats {
  const { ov, slot } = served;
  const { table } = ov;
  const counters = ov.sys.native.counters(slot);
  const requests: Record<string, number> = {};
  const latency: Record<string, Latency> = {};
  for (const code of Object.values(Op)) {
    const count = counters[code];
    if (count === 0) continue;
    requests[opcodeName(code)] = count;
    const from = HISTOGRAMS + code * BUCKETS;
    const buckets = [...counters.subarray(from, from + BUCKETS)];
    latency[opcodeName(code)] = latencyOf(buckets, counters[ELAPSED + code] / NS_PER_US);
  }
  return {
    protocol: `7.${served.minor}`,
    requests,
    bytesRead: counters[BYTES_READ] + ov.bytesRead,
    bytesWritten: counters[BYTES_WRITTEN] + ov.bytesWritten,
    latency,
    copyUps: ov.copyUps,
    data: ov.passthrough ? 'passthrough' : 'cached',
    copiedBytes: ov.copiedBytes,
    ...(ov.backings && {
      open: ov.backings.open,
      opens: ov.backings.opened,
      backings: ov.backings.size,
      backingsRegistered: ov.backings.registered,
    }),
    inodes: table.size,
    fds: fds.size,
    arena: table.arena.used,
    arenaPerInode: Math.round(table.arena.used / table.size),
    listingCache: { hits: ov.dirListings.hits, misses: ov.dirListings.misses },
    listings: { read: ov.dirListings.read, shared: ov.dirListings.shared },
    fdCache: { hits: fds.hits, misses: fds.misses },
  };
}

/** Of requests counted in buckets of 0 to 1, 1 to 2, 2 to 4 µs and so on, that took `total` µs together. */
export function latencyOf(counts: readonly number[], total: number): Latency {
  const requests = counts.reduce((sum, count) => sum + count, 0);
  return {
    requests,
    mean: requests === 0 ? 0 : round(total / requests),
    p50: quantile(counts, requests * 0.5),
    p99: quantile(counts, requests * 0.99),
    buckets: counts.slice(0, counts.findLastIndex((count) => count > 0) + 1),
  };
}

/** Where the `rank`-th of the counted lies, if those of one bucket are evenly spread over it. */
function quantile(counts: readonly number[], rank: number): number {
  let below = 0;
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && below + count >= rank) {
      const low = bucket === 0 ? 0 : 2 ** (bucket - 1);
      const high = 2 ** bucket;
      return round(low + (high - low) * ((rank - below) / count));
    }
    below += count;
  }
  return 0;
}

const round = (us: number): number => Math.round(us * 10) / 10;
