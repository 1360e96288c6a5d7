/**
 * What it costs to wake the server: one small request after the other, with client and server on
 * the same core and on two, two clients at once, and beside processes that want the cores. The
 * kernel's autogroups share the cores between sessions first, so it matters whose session they are.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Context, Mounted, Trial } from '../types.js';
import { MS, noServer } from './shape.js';

const FILES = 1500;
/** A quiet mount is watched so long, in seconds. */
const QUIET = 3;

function create(context: Context, mounted: Mounted, name: string, core?: number): number {
  const loop = `mkdir ${name} && cd ${name} && i=0 && while [ $i -lt ${FILES} ]; do : > f$i; i=$((i+1)); done`;
  const pinned = core === undefined ? [] : ['taskset', '-c', String(core)];
  const [ns = NaN] = context.client(
    mounted.mountpoint,
    'exec',
    '1',
    ...[...pinned, 'sh', '-c', loop],
  );
  return ns / MS;
}

/** Binds all threads of the servers to the cores of `list`. */
function bind(mounted: Mounted, list: string): void {
  for (const pid of mounted.servers) {
    const { status, stderr } = spawnSync('taskset', ['-a', '-p', '-c', list, String(pid)], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`taskset cannot bind ${pid}: ${stderr}`);
  }
}

/** Runs `body` beside `count` busy processes, of this session or each of its own. */
function beside<T>(count: number, ownSession: boolean, body: () => T): T {
  const busy: ChildProcess[] = [];
  try {
    for (let i = 0; i < count; i++) {
      const loop = ['-c', 'while :; do :; done'];
      busy.push(spawn('sh', loop, { stdio: 'ignore', detached: ownSession }));
    }
    return body();
  } finally {
    for (const child of busy) child.kill('SIGKILL');
  }
}

/** CPU time of all threads of the servers, in ms (proc(5): fields 14 and 15, in ticks of 10 ms). */
function cpuTime(mounted: Mounted): number {
  let ticks = 0;
  for (const pid of mounted.servers) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(join('/proc', String(pid), 'task', task, 'stat'), 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    }
  }
  return ticks * 10;
}

/** CPU time that a mount costs which nobody asks, in ms. */
function quiet(context: Context, mounted: Mounted): number {
  // What follows the last request (compilation, the end of a spin) is not the quiet yet.
  context.client('/', 'exec', '1', 'sleep', '1');
  const before = cpuTime(mounted);
  context.client('/', 'exec', '1', 'sleep', String(QUIET));
  return cpuTime(mounted) - before;
}

const wakeups: Trial = {
  name: 'wakeups',
  group: 'Wake-ups',
  rows: [
    { id: 'wake.free', title: `${FILES} new files, nothing bound`, unit: 'ms' },
    { id: 'wake.same', title: 'the same, client and server on one core', unit: 'ms' },
    { id: 'wake.other', title: 'the same, on two cores', unit: 'ms' },
    { id: 'wake.two', title: 'two clients, half of it each', unit: 'ms' },
    { id: 'wake.busy1', title: 'beside a busy process of the same session', unit: 'ms' },
    { id: 'wake.busy2', title: 'beside two of them', unit: 'ms' },
    { id: 'wake.session1', title: 'beside a busy process of another session', unit: 'ms' },
    { id: 'wake.session2', title: 'beside two of them, each of its own session', unit: 'ms' },
    { id: 'wake.quiet', title: `CPU time of a quiet mount in ${QUIET} s`, unit: 'ms' },
  ],
  programs: ['taskset'],
  refuses: noServer,
  run: (context) => {
    const mounted = context.mount();
    // Compiled and walked: this is about waking, not about the first time.
    for (let i = 0; i < 3; i++) create(context, mounted, `warm${i}`);
    const values: Record<string, number> = {
      'wake.quiet': quiet(context, mounted),
      'wake.free': create(context, mounted, 'free'),
    };
    const [two = NaN] = context.client(
      mounted.mountpoint,
      ...['clients', '2', 'create', 'two', String(FILES / 2)],
    );
    values['wake.two'] = two / MS;
    for (const count of [1, 2]) {
      for (const [row, ownSession] of [
        ['busy', false],
        ['session', true],
      ] as const) {
        const name = `${row}${count}`;
        values[`wake.${name}`] = beside(count, ownSession, () => create(context, mounted, name));
      }
    }
    bind(mounted, '0');
    values['wake.same'] = create(context, mounted, 'same', 0);
    bind(mounted, '1');
    values['wake.other'] = create(context, mounted, 'other', 0);
    return { values };
  },
};

export const wakeupTrials: readonly Trial[] = [wakeups];
