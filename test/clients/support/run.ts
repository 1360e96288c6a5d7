/** Runs real programs for the client tests: a time limit each, everything they said in the error. */
import { spawn } from 'node:child_process';

export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** How the output becomes text; utf8 unless told. latin1 keeps names that are bytes. */
  readonly encoding?: 'utf8' | 'latin1';
  /** Milliseconds until the program's whole process group is killed; 60,000 unless told. */
  readonly timeout?: number;
  /** Return a non-zero exit code instead of rejecting. */
  readonly mayFail?: boolean;
}

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Wall time in milliseconds. */
  readonly ms: number;
}

interface Streams {
  stdout: string;
  stderr: string;
}

const ENVIRONMENT = { LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive', TZ: 'UTC' };

/** Runs `command` and returns what it said; rejects with its output when it fails or takes too long. */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const started = performance.now();
  const limit = options.timeout ?? 60_000;
  return new Promise((resolve, reject) => {
    // A group of its own, so that a time-out ends the whole pipeline and nothing else.
    const child = spawn(command, args, {
      cwd: options.cwd ?? '/',
      env: { ...process.env, ...ENVIRONMENT, ...options.env },
      detached: true,
    });
    const said: Streams = { stdout: '', stderr: '' };
    for (const which of ['stdout', 'stderr'] as const) {
      child[which].setEncoding(options.encoding ?? 'utf8');
      child[which].on('data', (text: string) => {
        said[which] += text;
      });
    }
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child.pid);
      // A process stuck in the kernel keeps the pipes open: do not wait for it.
      reject(new Error(describe(command, args, `took more than ${limit} ms`, said)));
    }, limit);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new Error(`cannot run ${command}: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (late) return;
      if (code === null || (code !== 0 && options.mayFail !== true)) {
        const how = code === null ? `was ended by ${String(signal)}` : `exited with ${code}`;
        reject(new Error(describe(command, args, how, said)));
      } else resolve({ code, ...said, ms: performance.now() - started });
    });
    // A program that never reads its input closes the pipe; that is its right.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

/** Runs a bash script that stops at its first error. */
export function bash(script: string, options: RunOptions = {}): Promise<Finished> {
  return run('bash', ['-euo', 'pipefail', '-c', script], options);
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // ESRCH: it ended by itself between the time-out and now.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function describe(command: string, args: readonly string[], how: string, said: Streams): string {
  const shown = [command, ...args].join(' ').slice(0, 400);
  const tail = (text: string): string => text.slice(-2500).trimEnd();
  return `${how}: ${shown}\n--- stdout\n${tail(said.stdout)}\n--- stderr\n${tail(said.stderr)}`;
}
