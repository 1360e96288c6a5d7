/** Trials of the mount itself: time to the first answer, memory, and the requests that reach the server. */
import { readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { RequestTrace } from '../requests.js';
import { median } from '../statistics.js';
import type { Context, Driver, Requests, Trial } from '../types.js';
import { MS, TAR_TO_NOWHERE } from './reading.js';

const nothingToMount = (driver: Driver) =>
  driver.command ? undefined : 'a plain directory is not mounted';

const mountTime: Trial = {
  name: 'mount',
  rows: [
    { id: 'mount.first', title: 'mount to first answer, no server running', unit: 'ms' },
    { id: 'mount.next', title: 'mount to first answer, one more mount', unit: 'ms' },
  ],
  refuses: nothingToMount,
  run: (context) => {
    const first = context.mount();
    // The second mount may still start a thread that the later ones share.
    const next = [context.mount(), context.mount(), context.mount()].map(({ ns }) => ns / MS);
    return { values: { 'mount.first': first.ns / MS, 'mount.next': median(next) } };
  },
};

/** One field of /proc/PID/smaps_rollup over all servers, in MiB. */
function sumOf(servers: readonly number[], field: 'Rss' | 'Pss'): number {
  let kib = 0;
  for (const pid of servers) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    kib += Number(new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(text)?.[1] ?? NaN);
  }
  return kib / 1024;
}

const memory: Trial = {
  name: 'memory',
  rows: [
    { id: 'memory.rss', title: 'memory of the server after a full `find` (RSS)', unit: 'MiB' },
    { id: 'memory.pss', title: 'the same, its share of shared pages only (PSS)', unit: 'MiB' },
  ],
  refuses: (driver) =>
    nothingToMount(driver) ??
    (driver.command?.[0] === 'mount' ? 'no server process: the kernel serves' : undefined),
  run: (context) => {
    const { servers, mountpoint } = context.mount();
    if (servers.length === 0) throw new Error('no process holds this mount');
    context.client(mountpoint, 'exec', '1', 'find', '.', '-ls');
    return {
      values: { 'memory.rss': sumOf(servers, 'Rss'), 'memory.pss': sumOf(servers, 'Pss') },
    };
  },
};

interface Workload {
  readonly title: string;
  /** Done before counting. */
  readonly before: readonly (readonly string[])[];
  readonly args: readonly string[];
}

function workloads(context: Context): Workload[] {
  const { smallFiles, missingNames, archive } = context.fixture;
  const exec = (...tool: string[]) => ['exec', '1', ...tool];
  const find = exec('find', '.', '-ls');
  const stat = ['stat', smallFiles, '1'];
  const open = ['open', smallFiles, '1'];
  const missing = ['missing', missingNames, '1'];
  const tar = exec(...TAR_TO_NOWHERE, 'lib');
  return [
    { title: 'find -ls, cold', before: [], args: find },
    { title: 'find -ls, warm', before: [find], args: find },
    { title: 'stat, warm', before: [stat], args: stat },
    { title: 'missing names, warm', before: [missing], args: missing },
    // The first read of a file's pages makes the kernel ask for its atime at the next stat.
    { title: 'open+read+close, warm', before: [open, stat], args: open },
    { title: 'stat after it', before: [], args: stat },
    { title: 'tar read, warm', before: [tar, tar], args: tar },
    { title: 'untar', before: [], args: exec('tar', '-xf', archive, '--one-top-level=new') },
    { title: 'cp -a', before: [], args: exec('cp', '-a', 'include', 'copied') },
    { title: 'rm -rf', before: [], args: exec('rm', '-rf', 'include') },
    { title: 'chmod -R', before: [], args: exec('chmod', '-R', 'go-rwx', 'etc') },
  ];
}

/** What stratafs itself has counted: the loop's own view, beside the kernel's. */
function ownCount(context: Context, mountpoint: string): Readonly<Record<string, number>> {
  const program = context.driver.command?.[0] ?? '';
  const result = spawnSync(program, ['stats', mountpoint, '--json'], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (result.status !== 0) throw new Error(`${program} stats: ${result.stderr.trim()}`);
  return (JSON.parse(result.stdout) as { requests: Record<string, number> }).requests;
}

/** The requests of `later` that `earlier` had not. */
function difference(
  earlier: Readonly<Record<string, number>>,
  later: Readonly<Record<string, number>>,
): Record<string, number> {
  const grown: Record<string, number> = {};
  for (const [opcode, count] of Object.entries(later)) {
    const more = count - (earlier[opcode] ?? 0);
    if (more > 0) grown[opcode] = more;
  }
  return grown;
}

function countAll(context: Context, extra: string | undefined): Requests {
  const mounted = context.mount(extra === undefined ? {} : { extra });
  if (mounted.connection === undefined) throw new Error('not a FUSE mount');
  const own = context.driver.command?.[0]?.endsWith('stratafs') === true;
  const trace = new RequestTrace(join(mounted.mountpoint, '..'), mounted.connection);
  const counts: Record<string, Record<string, number>> = {};
  try {
    for (const { title, before: warmUp, args } of workloads(context)) {
      for (const work of warmUp) context.client(mounted.mountpoint, ...work);
      const before = own ? ownCount(context, mounted.mountpoint) : {};
      trace.take();
      context.client(mounted.mountpoint, ...args);
      counts[title] = trace.take();
      if (!own) continue;
      const engine = difference(before, ownCount(context, mounted.mountpoint));
      // The kernel's tracepoint leaves FORGET out; the engine does not.
      for (const name of ['FORGET', 'BATCH_FORGET']) {
        if (name in engine) counts[title][name] = engine[name];
      }
    }
  } finally {
    trace.close();
  }
  return counts;
}

const requests: Trial = {
  name: 'requests',
  rows: [],
  once: true,
  refuses: (driver) =>
    nothingToMount(driver) ??
    (driver.command?.[0] === 'mount' ? 'no server process: the kernel serves' : undefined),
  run: (context) => ({ requests: countAll(context, undefined) }),
};

const requestsWithout: Trial = {
  ...requests,
  name: 'requests-writeback=0',
  refuses: (driver) => (driver.name === 'stratafs' ? undefined : 'an option of stratafs'),
  run: (context) => ({ requests: countAll(context, 'writeback=0') }),
};

export const servingTrials: readonly Trial[] = [mountTime, memory, requests, requestsWithout];
