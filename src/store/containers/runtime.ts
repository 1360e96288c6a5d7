/** The OCI runtime and other programs that containers need, all from the distribution. */
import { type ChildProcess, execFile, spawn, type StdioOptions } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import { makeDirectory } from '../state/files.js';
import type { Store } from '../state/store.js';

/** Engines call us with a PATH of their own. */
const SYSTEM = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Where a program lies, or undefined. */
export function findProgram(name: string): string | undefined {
  if (name.includes('/')) return existsSync(name) ? name : undefined;
  const places = [...(process.env['PATH'] ?? '').split(':').filter(Boolean), ...SYSTEM];
  return places.map((place) => `${place}/${name}`).find((path) => existsSync(path));
}

/** Where a program lies; a UserError with what to do where it is missing. */
export function needProgram(name: string, why: string, packageName = name): string {
  const found = findProgram(name);
  if (found !== undefined) return found;
  throw new UserError(`${why} needs ${name}: apt-get install ${packageName}`);
}

/**
 * The runtime: `choice`, else STRATAFS_RUNTIME, else crun, which starts faster, or runc, where the old
 * cgroup hierarchies and the unified one are mounted together, which crun refuses.
 */
export function findRuntime(choice = process.env['STRATAFS_RUNTIME'] ?? ''): string {
  if (choice !== '') return needProgram(choice, 'this runtime');
  const hybrid = existsSync('/sys/fs/cgroup/unified');
  const names = hybrid ? ['runc', 'crun'] : ['crun', 'runc'];
  for (const name of names) {
    const found = findProgram(name);
    if (found !== undefined) return found;
  }
  throw new UserError('containers need an OCI runtime: apt-get install runc (or crun)');
}

/** Where the runtime keeps its state: one place for each store. */
function runtimeRoot(store: Store): string {
  const path = `${store.run}/runtime`;
  makeDirectory(path);
  return path;
}

/** The first arguments of every call of the runtime. */
export const runtimeArgs = (store: Store): string[] => ['--root', runtimeRoot(store)];

/** What a runtime says on failure, without its own name and log prefixes. */
export function runtimeSentence(text: string): string {
  const lines = text.trim().split('\n').filter(Boolean);
  const errors = lines.filter((line) => /level=error|^(ERRO|error)|:/i.test(line));
  const last = (errors.at(-1) ?? lines.at(-1) ?? '').trim();
  const quoted = /msg="((?:[^"\\]|\\.)*)"/.exec(last)?.[1];
  const plain = quoted === undefined ? last : quoted.replace(/\\(.)/g, '$1');
  return plain.replace(/^(ERRO\[\d+\]\s*|runc run failed: |container_linux\.go:\d+: )/, '');
}

/**
 * The exit status that Docker gives to a container that could not be started: 127 for a program that is
 * not there, 126 for one that cannot be run, 125 for the rest.
 */
function startStatus(sentence: string): number {
  if (/executable file .*not found|no such file or directory|cannot find/i.test(sentence))
    return 127;
  if (/permission denied|exec format error|is a directory|not executable/i.test(sentence))
    return 126;
  return 125;
}

/** The container could not be started; `status` is what the command exits with. */
export class StartError extends UserError {
  readonly status: number;

  constructor(sentence: string) {
    super(`OCI runtime error: ${sentence}`);
    this.status = startStatus(sentence);
  }
}

/** Runs the runtime to its end; rejects with its sentence. */
export async function runtime(
  store: Store,
  program: string,
  args: readonly string[],
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      program,
      [...runtimeArgs(store), ...args],
      { maxBuffer: 1 << 26 },
      (error, out, err) => {
        if (!error) resolve(out);
        else reject(new UserError(runtimeSentence(err) || error.message, { cause: error }));
      },
    );
  });
}

interface StepOptions {
  /** The container's name for the runtime: unique in the store. */
  readonly id: string;
  /** Holds config.json. UTF-8. */
  readonly bundle: string;
  readonly stdio?: StdioOptions;
  /** Called with the running runtime, for its streams. */
  readonly started?: (child: ChildProcess) => void;
  readonly signal?: AbortSignal;
}

const LOG = 'runtime.log';

/** What the runtime logged as its own failure; warnings are none. */
function failureIn(bundle: string): string | undefined {
  try {
    const lines = readFileSync(`${bundle}/${LOG}`, 'utf8').split('\n');
    return (
      runtimeSentence(lines.filter((line) => /level=(error|fatal)/.test(line)).join('\n')) ||
      undefined
    );
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
}

const SIGNALED = 128;

/**
 * Runs a container to its end, without a monitor: it ends with this process. Resolves with its exit
 * status; rejects with StartError when it could not be started. For the steps of a build.
 */
export async function runStep(store: Store, options: StepOptions): Promise<number> {
  const { id, bundle, stdio = 'inherit', started, signal } = options;
  const program = findRuntime();
  const log = ['--log', `${bundle}/${LOG}`];
  const args = [...runtimeArgs(store), ...log, 'run', '--bundle', bundle, id];
  const child = spawn(program, args, { stdio });
  started?.(child);
  const stop = (): void =>
    void runtime(store, program, ['kill', id, 'KILL']).catch(() => undefined);
  signal?.addEventListener('abort', stop);
  try {
    const [code, killed] = (await once(child, 'close')) as [number | null, string | null];
    if (killed !== null) return SIGNALED + 9;
    const failure = code === 0 ? undefined : failureIn(bundle);
    if (failure !== undefined) throw new StartError(failure);
    return code ?? SIGNALED;
  } finally {
    signal?.removeEventListener('abort', stop);
    // Nothing is left when it ended by itself.
    await runtime(store, program, ['delete', '--force', id]).catch(() => undefined);
  }
}
