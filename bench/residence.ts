/**
 * A mount namespace that lasts for the whole run, with the resident server of one driver in it.
 * Trials enter it, each in a process of its own.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { endServers } from './mounts.js';

const START_MS = 2_000;
const END_MS = 5_000;

function namespaceOf(pid: string | number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    // It has ended, or is a kernel thread that does not tell.
    return undefined;
  }
}

export class Residence {
  readonly #holder: ChildProcess;
  readonly #namespace: string;

  private constructor(holder: ChildProcess, namespace: string) {
    this.#holder = holder;
    this.#namespace = namespace;
  }

  static async open(): Promise<Residence> {
    const command = ['-m', '--propagation', 'private', 'sleep', 'infinity'];
    const holder = spawn('unshare', command, { stdio: 'ignore' });
    const own = namespaceOf('self');
    for (const end = Date.now() + START_MS; Date.now() < end; ) {
      await sleep(5);
      const namespace = holder.pid === undefined ? undefined : namespaceOf(holder.pid);
      if (namespace !== undefined && namespace !== own) return new Residence(holder, namespace);
    }
    holder.kill('SIGKILL');
    throw new Error('cannot make a mount namespace for a resident server');
  }

  /** The command line that runs a program here. */
  get enter(): readonly string[] {
    return ['nsenter', '-t', String(this.#holder.pid), '-m', '--'];
  }

  /** Processes that live here, the holder aside. */
  #residents(): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return pids
      .filter((pid) => namespaceOf(pid) === this.#namespace)
      .map(Number)
      .filter((pid) => pid !== this.#holder.pid);
  }

  /** Ends the server, and the namespace with it. */
  async close(): Promise<void> {
    endServers(this.#residents(), 'SIGTERM');
    for (const end = Date.now() + END_MS; Date.now() < end; ) {
      if (this.#residents().length === 0) break;
      await sleep(20);
    }
    endServers(this.#residents(), 'SIGKILL');
    this.#holder.kill('SIGKILL');
  }
}
