/** The requests that reach the server: counted, not timed. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { RequestTrace } from '../requests.js';
import type { Context, Requests, Trial } from '../types.js';
import { noServer, TAR_TO_NOWHERE } from './shape.js';

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

function countAll(context: Context): Requests {
  const mounted = context.mount();
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

export const requestTrials: readonly Trial[] = [
  {
    name: 'requests',
    group: 'Mounts and memory',
    rows: [],
    rounds: 1,
    refuses: noServer,
    run: (context) => ({ requests: countAll(context) }),
  },
];
