/** conmon: it starts the runtime, keeps the container's streams and log, and leaves its exit status. */
import { spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, rmSync, watch, writeSync, closeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { O_NONBLOCK, O_WRONLY } from '../../sys/constants.js';
import { nativeFile } from '../../sys/installed.js';
import { errnoOf } from '../../sys/paths.js';
import type { Store } from '../state/store.js';
import { isAlive, startOf } from './process.js';
import { bundleOf, type ContainerManifest, directoryOf } from './records.js';
import { findRuntime, needProgram, runtimeArgs, runtimeSentence, StartError } from './runtime.js';
import { type ContainerState, readExit } from './state.js';
import { utf8 } from './rootfs.js';

/** Where the log of a container lies. */
export const logOf = (store: Store, id: string): string => `${directoryOf(store, id)}/log`;

/** Held by a command that waits for the container's end and does what there is to do then. */
export const attendedOf = (store: Store, id: string): string => `${bundleOf(store, id)}.attended`;

/**
 * What conmon runs when the container has ended: waits for a command that attends it, and, unless that has
 * cleaned up, does it. Arguments: bundle, stratafs, the store's root, the ID.
 */
const AT_EXIT = `exec 9>>"$1.attended" || exit 0
flock 9
[ -e "$1/config.json" ] || { rm -f "$1.attended"; exit 0; }
exec 9>&-
exec "$2" --root "$3" container cleanup "$4"`;

function logArguments(store: Store, { id, host }: ContainerManifest): string[] {
  const { Type, Config } = host.LogConfig;
  if (Type === 'none') return ['--log-path', 'none'];
  const size = Config['max-size'] as string | undefined;
  return [
    '--log-path',
    `k8s-file:${logOf(store, id)}`,
    ...(size === undefined ? [] : ['--log-size-max', size]),
  ];
}

function monitorArguments(store: Store, container: ContainerManifest): string[] {
  const { id, name, config, host } = container;
  const bundle = bundleOf(store, id);
  const exit = ['-c', AT_EXIT, 'sh', bundle, nativeFile('stratafs'), utf8(store.root), id];
  return [
    ...['--api-version', '1', '--cid', id, '--cuuid', id, '--name', name],
    ...['--runtime', findRuntime(host.Runtime || undefined), '--bundle', bundle],
    ...runtimeArgs(store).map((each) => `--runtime-arg=${each}`),
    ...['--container-pidfile', `${bundle}/pidfile`, '--conmon-pidfile', `${bundle}/conmon.pid`],
    ...['--exit-dir', `${bundle}/exit`, '--full-attach', '--log-level', 'error'],
    ...logArguments(store, container),
    ...(config.Tty ? ['--terminal'] : []),
    ...(config.OpenStdin ? ['--stdin'] : []),
    ...['--exit-command', '/bin/sh', ...exit.map((each) => `--exit-command-arg=${each}`)],
  ];
}

interface Report {
  /** The PID, or -1. */
  readonly data?: number;
  readonly message?: string;
}

async function readReport(pipe: Readable): Promise<Report> {
  let text = '';
  for await (const part of pipe as AsyncIterable<Buffer>) {
    text += part.toString('utf8');
    if (text.includes('\n')) break;
  }
  try {
    return JSON.parse(text) as Report;
  } catch {
    return { message: text };
  }
}

interface Created {
  readonly pid: number;
  readonly start: string;
  readonly monitor: number;
  readonly monitorStart: string;
}

/** Creates the container of the bundle; it waits for `start`. Rejects with StartError. */
export async function createMonitored(
  store: Store,
  container: ContainerManifest,
): Promise<Created> {
  const bundle = bundleOf(store, container.id);
  mkdirSync(`${bundle}/exit`, { recursive: true });
  const program = needProgram('conmon', 'a container');
  const child = spawn(program, monitorArguments(store, container), {
    cwd: bundle,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    env: { ...process.env, _OCI_SYNCPIPE: '3' },
  });
  // Both are listened to from the start: one that cannot be run has its error before its report.
  const ended = new Promise<Error | undefined>((resolve) => {
    child.once('error', resolve);
    child.once('exit', () => {
      resolve(undefined);
    });
  });
  const { data = -1, message = '' } = await readReport(child.stdio[3] as Readable);
  const failed = await ended;
  if (failed) throw new StartError(`cannot run ${program}: ${failed.message}`);
  if (data <= 0) throw new StartError(runtimeSentence(message) || 'the runtime gave no reason');
  const monitor = Number(readFileSync(`${bundle}/conmon.pid`, 'latin1').trim());
  return {
    pid: data,
    start: startOf(data) ?? '',
    monitor,
    monitorStart: startOf(monitor) ?? '',
  };
}

/** Has the terminal of a container take a new size. */
export function resizeTerminal(store: Store, id: string, rows: number, columns: number): void {
  try {
    const fd = openSync(`${bundleOf(store, id)}/ctl`, O_WRONLY | O_NONBLOCK);
    try {
      writeSync(fd, `1 ${rows} ${columns}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    // ENOENT, ENXIO: the container has ended meanwhile.
    errnoOf(error);
  }
}

/** When nothing tells, it is looked at this often. */
const LOOK_MS = 250;

/**
 * Waits for the end of the container's process. Resolves with its exit status; undefined when nobody knows
 * it: its monitor was killed, or another command has cleaned up; and when `signal` ends the wait.
 */
export async function waitForExit(
  store: Store,
  id: string,
  state: ContainerState,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const directory = `${bundleOf(store, id)}/exit`;
  let wake: () => void = () => undefined;
  let watcher: ReturnType<typeof watch> | undefined;
  try {
    watcher = watch(directory, () => wake());
    watcher.on('error', () => wake());
  } catch (error) {
    // It is gone already.
    errnoOf(error);
  }
  try {
    for (;;) {
      const monitored = isAlive(state.monitor, state.monitorStart);
      const running = isAlive(state.pid, state.start);
      const exit = readExit(store, id);
      if (exit !== undefined || (!monitored && !running) || signal?.aborted) return exit;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK_MS);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
        signal?.addEventListener('abort', wake, { once: true });
      });
    }
  } finally {
    watcher?.close();
  }
}

/** Removes what the runs of a container have left in the bundle. */
export function dropBundle(store: Store, id: string): void {
  rmSync(bundleOf(store, id), { recursive: true, force: true });
  rmSync(attendedOf(store, id), { force: true });
}
