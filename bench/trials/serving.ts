/** Trials of the mount itself: time to the first answer, and memory. */
import { readFileSync } from 'node:fs';
import { median } from '../statistics.js';
import type { Context, Mounted, Outcome, Trial } from '../types.js';
import { MS, noServer, nothingToMount } from './shape.js';

const mountTime: Trial = {
  name: 'mount',
  group: 'Mounts and memory',
  short: true,
  rows: [
    { id: 'mount.first', title: 'mount to first answer, no server running', unit: 'ms' },
    { id: 'mount.next', title: 'mount to first answer, one more mount', unit: 'ms' },
  ],
  refuses: nothingToMount,
  run: (context) => {
    const first = context.mount();
    // The second mount may still start a thread that the later ones share.
    const next = [context.mount(), context.mount(), context.mount()].map(({ ns }) => ns / MS);
    const values = { 'mount.next': median(next) };
    if (context.driver.resident !== true) {
      return { values: { ...values, 'mount.first': first.ns / MS } };
    }
    return { values, reasons: { 'mount.first': 'its server is always running' } };
  },
};

/** One field of /proc/PID/smaps_rollup over all servers, in MiB. */
function sumOf(servers: Iterable<number>, field: 'Rss' | 'Pss'): number {
  let kib = 0;
  for (const pid of servers) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    kib += Number(new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(text)?.[1] ?? NaN);
  }
  return kib / 1024;
}

function serversOf(mounts: readonly Mounted[]): Set<number> {
  const servers = new Set(mounts.flatMap((mounted) => mounted.servers));
  if (servers.size === 0) throw new Error('no process holds this mount');
  return servers;
}

const memory: Trial = {
  name: 'memory',
  group: 'Mounts and memory',
  short: true,
  rows: [
    { id: 'memory.rss', title: 'memory of the server after a full `find` (RSS)', unit: 'MiB' },
    { id: 'memory.pss', title: 'the same, its share of shared pages only (PSS)', unit: 'MiB' },
  ],
  refuses: noServer,
  run: (context) => {
    const mounted = context.mount();
    const servers = serversOf([mounted]);
    context.client(mounted.mountpoint, 'exec', '1', 'find', '.', '-ls');
    return {
      values: { 'memory.rss': sumOf(servers, 'Rss'), 'memory.pss': sumOf(servers, 'Pss') },
    };
  },
};

/** Servers do some things only when they have nothing else to do: start a thread, give memory back. */
function settle(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Mounts of one image until there are `count`, each looked into once. */
function mountUpTo(context: Context, mounts: Mounted[], count: number): void {
  while (mounts.length < count) {
    const mounted = context.mount();
    context.client(mounted.mountpoint, 'exec', '1', 'ls', '-l', 'share', 'lib', 'etc');
    mounts.push(mounted);
  }
}

const manyMounts: Trial = {
  name: 'mounts',
  group: 'Mounts and memory',
  rows: [
    {
      id: 'mounts.10',
      title: '10 mounts of one image: memory for each beyond the first (PSS)',
      unit: 'MiB',
    },
    {
      id: 'mounts.100',
      title: '100 mounts of one image: memory for each beyond the tenth (PSS)',
      unit: 'MiB',
    },
    {
      id: 'mounts.used',
      title: '10 mounts, each after a full `find`: for each further one (PSS)',
      unit: 'MiB',
    },
  ],
  refuses: noServer,
  run: (context) => {
    const mounts: Mounted[] = [];
    const pss = () => sumOf(serversOf(mounts), 'Pss');
    const eachFurther = (count: number) => {
      const [before, from] = [pss(), mounts.length];
      mountUpTo(context, mounts, count);
      return (pss() - before) / (count - from);
    };
    mountUpTo(context, mounts, 1);
    settle(1000);
    const ten = eachFurther(10);
    const hundred = eachFurther(100);
    const [first, ...others] = mounts.slice(0, 10);
    const walk = (mounted: Mounted) =>
      context.client(mounted.mountpoint, 'exec', '1', 'find', '.', '-ls');
    walk(first);
    const before = pss();
    for (const mounted of others) walk(mounted);
    const used = (pss() - before) / others.length;
    return { values: { 'mounts.10': ten, 'mounts.100': hundred, 'mounts.used': used } };
  },
};

/** What a server keeps for each inode that the kernel knows, and what stays when it has forgotten them. */
function perInode(context: Context): Outcome {
  const mounted = context.mount({ lowers: [`${context.part('many')}/layer`], readOnly: true });
  const servers = serversOf([mounted]);
  const count = context.quick ? 20_000 : 1_000_000;
  const before = sumOf(servers, 'Pss');
  // -size needs each object's attributes: everything is known then.
  context.client(mounted.mountpoint, 'exec', '1', 'find', 'many', '-size', '+1000');
  const known = sumOf(servers, 'Pss');
  context.cold();
  settle(2000);
  const forgotten = sumOf(servers, 'Pss');
  const bytes = (mib: number) => (mib * 1024 * 1024) / count;
  return {
    values: {
      'inodes.known': bytes(known - before),
      'inodes.forgotten': bytes(Math.max(0, forgotten - before)),
    },
  };
}

const inodes: Trial = {
  name: 'inodes',
  group: 'Mounts and memory',
  parts: ['many'],
  rows: [
    {
      id: 'inodes.known',
      title: 'memory for each of 1,000,000 known inodes, names of 8 bytes',
      unit: 'B',
    },
    {
      id: 'inodes.forgotten',
      title: 'the same, 2 s after the kernel has forgotten them',
      unit: 'B',
    },
  ],
  refuses: (driver) =>
    noServer(driver) ?? (driver.resident === true ? 'the same as without' : undefined),
  run: perInode,
};

export const servingTrials: readonly Trial[] = [mountTime, memory, manyMounts, inodes];
