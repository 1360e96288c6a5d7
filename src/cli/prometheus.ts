/** Counters of mounts in the text format of Prometheus (version 0.0.4), for `stratafs stats --prometheus`. */
import { display } from '../base/bytes.js';
import type { Served } from '../client/ask.js';
import type { MountStats } from '../wire/stats.js';

interface Measured {
  readonly mount: Pick<Served, 'mountpoint' | 'pid'>;
  readonly stats: MountStats;
}

type Type = 'counter' | 'gauge' | 'histogram';

/** The first upper bound of a histogram's buckets, in seconds; each next one is twice that. */
const FIRST_BOUND = 1e-6;

const escape = (text: string): string =>
  text.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));

function labels(all: Readonly<Record<string, string>>): string {
  return `{${Object.entries(all)
    .map(([name, value]) => `${name}="${escape(value)}"`)
    .join(',')}}`;
}

/** One family: its head, then a line for each sample; nothing without samples. */
function family(name: string, type: Type, help: string, samples: readonly string[]): string {
  if (samples.length === 0) return '';
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples.join('\n')}\n`;
}

const SIMPLE: readonly (readonly [string, Type, string, (stats: MountStats) => number])[] = [
  ['read_bytes_total', 'counter', 'Bytes read through the engine.', (s) => s.bytesRead],
  ['written_bytes_total', 'counter', 'Bytes written through the engine.', (s) => s.bytesWritten],
  ['copy_ups_total', 'counter', 'Objects copied to the upper.', (s) => s.copyUps],
  ['copied_bytes_total', 'counter', 'Bytes of data copied to the upper.', (s) => s.copiedBytes],
  ['inodes', 'gauge', 'Inodes that the kernel knows.', (s) => s.inodes],
  ['inode_arena_bytes', 'gauge', 'Memory of these inodes.', (s) => s.arena],
  ['listing_cache_hits_total', 'counter', 'Answers of kept listings.', (s) => s.listingCache.hits],
  ['listing_cache_misses_total', 'counter', 'Listings not kept.', (s) => s.listingCache.misses],
  ['engine_descriptors', 'gauge', 'Descriptors of the engine thread.', (s) => s.fds],
];

export function prometheusText(all: readonly Measured[]): string {
  const own = ({ mount }: Measured): Record<string, string> => ({
    mountpoint: display(mount.mountpoint),
  });
  const up = all.map(
    (each) =>
      `stratafs_mount_info${labels({ ...own(each), host: String(each.mount.pid), data: each.stats.data, protocol: each.stats.protocol })} 1`,
  );
  const simple = SIMPLE.map(([name, type, help, value]) =>
    family(
      `stratafs_${name}`,
      type,
      help,
      all.map((each) => `stratafs_${name}${labels(own(each))} ${value(each.stats)}`),
    ),
  );
  return [
    family('stratafs_mount_info', 'gauge', 'A live mount.', up),
    ...simple,
    requests(all, own),
    latencies(all, own),
  ].join('');
}

type Own = (each: Measured) => Record<string, string>;

function requests(all: readonly Measured[], own: Own): string {
  const name = 'stratafs_requests_total';
  const samples = all.flatMap((each) =>
    Object.entries(each.stats.requests).map(
      ([opcode, count]) => `${name}${labels({ ...own(each), opcode })} ${count}`,
    ),
  );
  return family(name, 'counter', 'Requests of the kernel.', samples);
}

function latencies(all: readonly Measured[], own: Own): string {
  const name = 'stratafs_request_seconds';
  const samples = all.flatMap((each) =>
    Object.entries(each.stats.latency).flatMap(([opcode, { requests: count, mean, buckets }]) => {
      const at = { ...own(each), opcode };
      let below = 0;
      const lines = buckets.map((more, i) => {
        below += more;
        return `${name}_bucket${labels({ ...at, le: String(FIRST_BOUND * 2 ** i) })} ${below}`;
      });
      return [
        ...lines,
        `${name}_bucket${labels({ ...at, le: '+Inf' })} ${count}`,
        `${name}_sum${labels(at)} ${(mean * count) / 1e6}`,
        `${name}_count${labels(at)} ${count}`,
      ];
    }),
  );
  return family(name, 'histogram', 'Time from reading a request to its answer.', samples);
}
