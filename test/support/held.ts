/**
 * Holds system calls of a process: a thread that makes one stays in it until it is let go. So a test controls
 * what happens while a copy or a sync is under way, and neither load nor a slow disk changes the result.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Longer than any test: the call waits for `letGo`, not for this. */
const FOREVER_US = 3_600_000_000;

/** What `hold` needs of the machine. */
export const HOLDS = { root: true, programs: ['strace'] } as const;

function isTraced(pid: number, tracer: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((task) => {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'latin1');
    return status.includes(`TracerPid:\t${tracer}\n`);
  });
}

export interface Held {
  /** Resolves when a thread is in one of the calls. */
  readonly entered: Promise<void>;
  /** Lets all go on, now and later. */
  readonly letGo: () => Promise<void>;
}

/** Holds `calls` (names, a comma between two) of all threads of `pid`. */
export async function hold(pid: number, calls: string): Promise<Held> {
  const rules = ['-e', `trace=${calls}`, '-e', `inject=${calls}:delay_enter=${FOREVER_US}`];
  const args = ['-f', '-qq', ...rules, '-p', String(pid)];
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(strace, 'exit');
  // It writes the beginning of a call before it delays it, and nothing else.
  const entered = new Promise<void>((resolve) => {
    strace.stderr.on('data', () => {
      resolve();
    });
  });
  while (strace.exitCode === null && !isTraced(pid, strace.pid ?? -1)) await sleep(5);
  if (strace.exitCode !== null) throw new Error(`strace ended with ${strace.exitCode}`);
  const letGo = async (): Promise<void> => {
    strace.kill('SIGTERM');
    await ended;
  };
  return { entered, letGo };
}
