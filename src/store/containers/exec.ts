/** One more process in a running container. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import { newId } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { environmentOf, processInput } from './bundle.js';
import { runtimeOf } from './lifecycle.js';
import { rlimitsOf } from './limits.js';
import { bundleOf, type ContainerManifest, rootfsOf } from './records.js';
import { runtimeArgs, runtimeSentence, StartError } from './runtime.js';
import { processOf } from './spec.js';
import { mustRun } from './state.js';

interface ExecOptions {
  readonly args: readonly string[];
  /** `KEY=value` each, besides the container's. */
  readonly env: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly detach: boolean;
  readonly privileged: boolean;
  readonly user?: string;
  readonly cwd?: string;
}

/** What the runtime itself says went wrong, in its log. */
function failureIn(log: string): string | undefined {
  try {
    const lines = readFileSync(log, 'utf8').split('\n');
    const errors = lines.filter((line) => /level=(error|fatal)/.test(line));
    return errors.length === 0 ? undefined : runtimeSentence(errors.join('\n'));
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
}

function writeProcess(
  store: Store,
  container: ContainerManifest,
  options: ExecOptions,
  file: string,
): void {
  const { config, host } = container;
  const root = `${rootfsOf(store, container).directory}/merged`;
  const input = processInput(container, root, options.user, options.privileged || host.Privileged);
  const given = new Set(options.env.map((each) => each.split('=')[0]));
  const base = environmentOf(container, input.user.home, options.tty);
  const own = base.filter((each) => !given.has(each.slice(0, each.indexOf('='))));
  const process = processOf({
    ...input,
    args: options.args,
    env: [...own, ...options.env.filter((each) => each.includes('='))],
    cwd: options.cwd ?? (config.WorkingDir || '/'),
    terminal: options.tty,
    rlimits: rlimitsOf(host.Ulimits),
  });
  writeFileSync(file, JSON.stringify(process));
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/**
 * Runs a process in the container, with our streams. Resolves with its exit status; rejects with StartError
 * when it could not be started.
 */
export async function execIn(
  store: Store,
  container: ContainerManifest,
  options: ExecOptions,
): Promise<number> {
  const { id, name } = container;
  const state = mustRun(store, id, name);
  if (state.status === 'paused') {
    throw new UserError(`Container ${name} is paused, unpause the container before exec`);
  }
  const base = `${bundleOf(store, id)}/exec-${newId().slice(0, 16)}`;
  const [file, log] = [`${base}.json`, `${base}.log`];
  writeProcess(store, container, options, file);
  const detached = options.detach ? ['--detach'] : [];
  const args = [...runtimeArgs(store), '--log', log, 'exec', '--process', file, ...detached, id];
  const out = options.detach ? 'ignore' : 'inherit';
  const input = options.stdin && !options.detach ? 'inherit' : 'ignore';
  // The runtime forwards the signals that the terminal sends to all of us.
  const ignore = (): void => undefined;
  for (const signal of SIGNALS) process.on(signal, ignore);
  try {
    // With a terminal the runtime sets ours up by its stdin, whether it is read or not.
    const stdin = options.tty && !options.detach ? 'inherit' : input;
    const child = spawn(runtimeOf(container), args, { stdio: [stdin, out, out] });
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    if (signal !== null) return 137;
    const failure = code === 0 ? undefined : failureIn(log);
    if (failure !== undefined) throw new StartError(failure);
    return code ?? 137;
  } finally {
    for (const each of SIGNALS) process.off(each, ignore);
    for (const each of [file, log]) rmSync(each, { force: true });
  }
}
