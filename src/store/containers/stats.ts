/** What a container uses, by its cgroups (both versions) and its network namespace. */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { errnoOf } from '../../sys/paths.js';

/** Undefined: it cannot be told here. Bytes, but `cpu`, in nanoseconds. */
export interface Usage {
  readonly cpu: number | undefined;
  readonly memory: number | undefined;
  readonly memoryLimit: number;
  readonly pids: number | undefined;
  readonly read: number | undefined;
  readonly written: number | undefined;
  readonly received: number | undefined;
  readonly sent: number | undefined;
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
}

function numberOf(path: string): number | undefined {
  const text = textOf(path);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** The value of a line `KEY VALUE`. */
function field(text: string | undefined, key: string): number | undefined {
  const found = new RegExp(`^${key} (\\d+)$`, 'm').exec(text ?? '');
  return found ? Number(found[1]) : undefined;
}

/** The directory of a process's cgroup: of a controller, '' for the unified hierarchy. */
function cgroup(pid: number, controller: string): string | undefined {
  for (const line of (textOf(`/proc/${pid}/cgroup`) ?? '').split('\n')) {
    const [, controllers = '', path = ''] = line.split(':');
    if (controllers.split(',').includes(controller)) {
      // Only a group of its own tells of the container alone.
      if (!path.includes('stratafs')) return undefined;
      return controller === '' ? `/sys/fs/cgroup${path}` : `/sys/fs/cgroup/${controller}${path}`;
    }
  }
  return undefined;
}

function sum(text: string | undefined, pattern: RegExp): number | undefined {
  if (text === undefined) return undefined;
  return [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
}

function network(pid: number): { received: number | undefined; sent: number | undefined } {
  const text = textOf(`/proc/${pid}/net/dev`);
  if (text === undefined) return { received: undefined, sent: undefined };
  let [received, sent] = [0, 0];
  for (const line of text.split('\n').slice(2)) {
    const [name, ...values] = line.trim().split(/[:\s]+/);
    if (name === 'lo') continue;
    received += Number(values[0]);
    sent += Number(values[8]);
  }
  return { received, sent };
}

function unified(pid: number, at: string): Usage {
  const io = textOf(`${at}/io.stat`);
  const cpu = field(textOf(`${at}/cpu.stat`), 'usage_usec');
  const used = numberOf(`${at}/memory.current`);
  const idle = field(textOf(`${at}/memory.stat`), 'inactive_file') ?? 0;
  return {
    cpu: cpu === undefined ? undefined : cpu * 1000,
    memory: used === undefined ? undefined : Math.max(0, used - idle),
    memoryLimit: numberOf(`${at}/memory.max`) ?? totalmem(),
    pids: numberOf(`${at}/pids.current`),
    read: sum(io, /rbytes=(\d+)/g),
    written: sum(io, /wbytes=(\d+)/g),
    ...network(pid),
  };
}

/** The usage of the container whose first process is `pid`. */
export function readUsage(pid: number): Usage {
  const memoryAt = cgroup(pid, 'memory');
  const cpuAt = cgroup(pid, 'cpuacct');
  if (memoryAt === undefined && cpuAt === undefined) {
    return unified(pid, cgroup(pid, '') ?? '/nonexistent');
  }
  const used = numberOf(`${memoryAt ?? ''}/memory.usage_in_bytes`);
  const idle = field(textOf(`${memoryAt ?? ''}/memory.stat`), 'total_inactive_file') ?? 0;
  const limit = numberOf(`${memoryAt ?? ''}/memory.limit_in_bytes`) ?? totalmem();
  const io = textOf(`${cgroup(pid, 'blkio') ?? ''}/blkio.throttle.io_service_bytes`);
  return {
    cpu: numberOf(`${cpuAt ?? ''}/cpuacct.usage`),
    memory: used === undefined ? undefined : Math.max(0, used - idle),
    memoryLimit: Math.min(limit, totalmem()),
    pids: numberOf(`${cgroup(pid, 'pids') ?? ''}/pids.current`),
    read: sum(io, /Read (\d+)/g),
    written: sum(io, /Write (\d+)/g),
    ...network(pid),
  };
}
