/**
 * While one client asks all the time, the engine thread runs on that client's core, as SCHED_IDLE
 * (native/placement.h); it must stop when the client does, and when others want the core.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { withFollowing } from '../support/follow.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';
import { build, file } from '../support/tree.js';

const SCHED_IDLE = 5;
/** Fields of /proc/PID/stat behind the name, which ends with ")" (proc(5) counts from 1). */
const POLICY = 41;

interface Seen {
  readonly idle: boolean;
  readonly cpus: string;
}

/** The threads of `pid` that are scheduled as idle, or bound to less than all cores. */
function placed(pid: number, all: string): Seen[] {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks)
    .map((task) => {
      const stat = readFileSync(join(tasks, task, 'stat'), 'latin1');
      const policy = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[POLICY - 3]);
      const status = readFileSync(join(tasks, task, 'status'), 'latin1');
      const cpus = /Cpus_allowed_list:\s+(\S+)/.exec(status)?.[1] ?? '';
      return { idle: policy === SCHED_IDLE, cpus };
    })
    .filter(({ idle, cpus }) => idle || cpus !== all);
}

/** Makes 3,000 files, asking one thing after the other without a pause. */
const MAKE = 'i=0; while [ $i -lt 3000 ]; do : > f$i; i=$((i+1)); done';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }) || availableParallelism() < 2)(
  'an engine thread that follows its client (needs two cores)',
  () => {
    const root = scratch('follow');
    const all = /Cpus_allowed_list:\s+(\S+)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
    const core = /^\d+/.exec(all ?? '')?.[0] ?? '0';
    const others: ChildProcess[] = [];

    afterEach(() => {
      for (const child of others.splice(0)) child.kill('SIGKILL');
    });
    afterAll(() => rmSync(root, { recursive: true, force: true }));

    function onCore(script: string, cwd: string): ChildProcess {
      const child = spawn('taskset', ['-c', core, 'sh', '-c', script], { cwd, stdio: 'ignore' });
      others.push(child);
      return child;
    }

    async function mounted(
      name: string,
      body: (mountpoint: string, host: number) => Promise<void>,
    ): Promise<void> {
      const at = join(root, name);
      const [low, upper, work, mountpoint] = ['low', 'up', 'work', 'mnt'].map((each) => {
        mkdirSync(join(at, each), { recursive: true });
        return join(at, each);
      }) as [string, string, string, string];
      await build(low, [file('a', 'content')]);
      await withFollowing({ lowers: [low], upper, work }, mountpoint, (host) =>
        body(mountpoint, host),
      );
    }

    /** Looks again and again until the child has ended. */
    async function watch(child: ChildProcess, host: number): Promise<Seen[]> {
      const seen: Seen[] = [];
      while (child.exitCode === null) {
        seen.push(...placed(host, all ?? ''));
        await sleep(2);
      }
      expect(child.exitCode).toBe(0);
      return seen;
    }

    /** A mount that nobody asks is scheduled as any other process. */
    async function settles(host: number): Promise<void> {
      for (let i = 0; i < 100 && placed(host, all ?? '').some(({ idle }) => idle); i++) {
        await sleep(20);
      }
      expect(placed(host, all ?? '').filter(({ idle }) => idle)).toEqual([]);
    }

    it('is on its core and idle while it asks, and not afterwards', async () => {
      await mounted('alone', async (mountpoint, host) => {
        const seen = await watch(onCore(MAKE, mountpoint), host);
        expect(seen).toContainEqual({ idle: true, cpus: core });
        await settles(host);
        expect(readdirSync(join(root, 'alone', 'up'))).toHaveLength(3000);
      });
    });

    it('does not starve beside two busy processes on that core', async () => {
      await mounted('busy', async (mountpoint, host) => {
        onCore('while :; do :; done', '/');
        onCore('while :; do :; done', '/');
        await watch(onCore(MAKE, mountpoint), host);
        expect(readdirSync(join(root, 'busy', 'up'))).toHaveLength(3000);
        await settles(host);
      });
    });
  },
);
