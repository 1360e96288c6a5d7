/** `stratafs stats MNT`. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { Hits, MountStats } from '../wire/stats.js';
import { liveMounts, mountStats } from '../client/ask.js';
import { findMounted } from '../client/find.js';
import { command } from './frame/command.js';
import { print, say } from './frame/output.js';
import { prometheusText } from './prometheus.js';

export async function statsText(argument: string, json: boolean): Promise<string> {
  const mount = await findMounted(argument);
  const stats = await mountStats(mount);
  if (!stats) throw new UserError(`the mount on ${display(mount.mountpoint)} has ended`);
  return json ? `${JSON.stringify(stats, undefined, 2)}\n` : forPeople(stats);
}

export function forPeople(stats: MountStats): string {
  const { copyUps, inodes, fds, listingCache, fdCache } = stats;
  const totals = [
    ['data', `${stats.data}; ${size(stats.bytesRead)} read, ${size(stats.bytesWritten)} written`],
    ...passedThrough(stats),
    ['copy-ups', `${count(copyUps)}, ${size(stats.copiedBytes)} of data`],
    ['inodes', `${count(inodes)}, ${stats.arenaPerInode} bytes each, ${size(stats.arena)}`],
    ['listings', `${listed(stats)}, ${answered(listingCache)}`],
    ['descriptors', `${count(fds)} open in the engine thread, ${answered(fdCache)}`],
  ];
  const requests = Object.entries(stats.requests)
    .sort(([, a], [, b]) => b - a)
    .map(([name, asked]) => {
      const times = stats.latency[name];
      return [name, count(asked), time(times.mean), time(times.p50), time(times.p99)];
    });
  const head = ['request', 'count', 'mean', 'p50', 'p99'];
  return `${table(totals, 1)}\n${table([head, ...requests], head.length)}`;
}

/** What the requests for data do not tell: files that the kernel reads and writes itself. */
function passedThrough({ backings, open = 0, opens = 0 }: MountStats): string[][] {
  if (backings === undefined) return [];
  return [
    [
      'files',
      `${count(opens)} opened, ${count(open)} open now, ${count(backings)} known to the kernel`,
    ],
  ];
}

/** Columns two blanks apart: the first flush left, those up to `right` flush right, the rest as it is. */
function table(rows: readonly (readonly string[])[], right: number): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const cell = (text: string, i: number): string => {
    if (i === 0) return text.padEnd(widths[i]);
    return i < right ? text.padStart(widths[i]) : text;
  };
  return rows.map((row) => `${row.map(cell).join('  ')}\n`).join('');
}

const count = (value: number): string => value.toLocaleString('en-US');

function listed({ listings: { read, shared } }: MountStats): string {
  return `${count(read)} read, ${count(shared)} shared`;
}

function answered({ hits, misses }: Hits): string {
  const asked = hits + misses;
  if (asked === 0) return 'never asked for';
  return `${((100 * hits) / asked).toFixed(1)} % of ${count(asked)} answered from what is kept`;
}

function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function time(us: number): string {
  if (us < 1000) return `${us.toFixed(us < 10 ? 1 : 0)} µs`;
  return us < 1_000_000 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1_000_000).toFixed(1)} s`;
}

/** Of one mount, or of all that answer: one that ends, or hangs, is no reason to tell nothing. */
async function prometheus(argument: string | undefined): Promise<string> {
  const mounts = argument === undefined ? await liveMounts() : [await findMounted(argument)];
  const all = await Promise.all(
    mounts.map(async (mount) => {
      const stats = await mountStats(mount).catch((error: unknown) => {
        if (argument !== undefined || !(error instanceof UserError)) throw error;
        say(`stratafs: ${error.message}`);
        return undefined;
      });
      return stats ? [{ mount, stats }] : [];
    }),
  );
  return prometheusText(all.flat());
}

export const stats = command({
  usage: 'stats [OPTIONS] MNT',
  about: 'Show what a mount did: requests and their times, bytes, copy-ups, caches, memory',
  flags: {
    json: { kind: 'bool', help: 'Print JSON, with the histograms' },
    prometheus: {
      kind: 'bool',
      help: 'Print metrics for Prometheus, of all mounts when none is named',
    },
  },
  args: [0, 1],
  plain: true,
  async run({ values, rawArgs }) {
    if (values.json && values.prometheus) {
      throw new UserError('stats prints JSON or metrics: give --json or --prometheus, not both');
    }
    if (values.prometheus) {
      print(await prometheus(rawArgs.at(0)));
      return 0;
    }
    if (rawArgs.length === 0) {
      throw new UserError('stats takes a mount point: stratafs mounts shows them');
    }
    print(await statsText(rawArgs[0], values.json));
    return 0;
  },
});
