/** Stopping, killing, pausing, waiting for containers; the policy of starting them again. */
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../../base/errno.js';
import { tryLock } from '../state/lock.js';
import type { Store } from '../state/store.js';
import { runtimeOf, settle, startContainer, withContainer } from './lifecycle.js';
import { attendedOf, waitForExit } from './monitor.js';
import { signalProcess } from './process.js';
import { type ContainerManifest, readContainer } from './records.js';
import { removeContainer } from './remove.js';
import { runtime } from './runtime.js';
import { signalNumber } from './signals.js';
import {
  type ContainerState,
  currentState,
  isRunning,
  mustRun,
  readExit,
  readState,
  writeState,
} from './state.js';

const STOP_SECONDS = 10;

const noteStopped = (store: Store, id: string): Promise<void> =>
  withContainer(store, id, () => {
    const state = readState(store, id);
    if (isRunning(state)) writeState(store, id, { ...state, stopped: true }, false);
    return Promise.resolve();
  });

/** Waits for the end, for so many seconds (undefined: without end); false when it still runs. */
async function endsWithin(
  store: Store,
  id: string,
  state: ContainerState,
  seconds: number,
): Promise<boolean> {
  const timeout = new AbortController();
  try {
    const ended = waitForExit(store, id, state, timeout.signal).then(() => true);
    if (seconds < 0) return await ended;
    const late = sleep(seconds * 1000, false, { signal: timeout.signal }).catch(() => false);
    return await Promise.race([ended, late]);
  } finally {
    timeout.abort();
  }
}

async function thaw(store: Store, container: ContainerManifest): Promise<void> {
  const { state } = currentState(store, container.id);
  if (state.status !== 'paused') return;
  await runtime(store, runtimeOf(container), ['resume', container.id]);
  await withContainer(store, container.id, () => {
    const now = readState(store, container.id);
    if (isRunning(now)) writeState(store, container.id, { ...now, status: 'running' }, false);
    return Promise.resolve();
  });
}

interface StopOptions {
  /** Seconds until SIGKILL; -1: never. The container's own when absent. */
  readonly timeout?: number | undefined;
  readonly signal?: string | undefined;
}

/** Stops a container: its signal, then SIGKILL. Resolves when its end is written. */
export async function stopContainer(
  store: Store,
  container: ContainerManifest,
  { timeout, signal }: StopOptions = {},
): Promise<void> {
  const { id, config } = container;
  const { state } = currentState(store, id);
  if (isRunning(state)) {
    await noteStopped(store, id);
    await thaw(store, container);
    const number = signalNumber(signal ?? (config.StopSignal || 'TERM'));
    const seconds = timeout ?? config.StopTimeout ?? STOP_SECONDS;
    signalProcess(state.pid, state.start, number);
    if (!(await endsWithin(store, id, state, seconds))) {
      signalProcess(state.pid, state.start, 'SIGKILL');
      await waitForExit(store, id, state);
    }
  }
  await ended(store, id);
}

/** Sees to it that the end of a container is written; another command may be faster, or remove it. */
async function ended(store: Store, id: string): Promise<void> {
  if (isAttended(store, id)) {
    // Who waits for it in the foreground does it.
    for (let tries = 0; tries < 200 && isAttended(store, id); tries++) await sleep(10);
  }
  await cleanUp(store, id);
}

const isAttended = (store: Store, id: string): boolean => {
  try {
    const lock = tryLock(Buffer.from(attendedOf(store, id), 'utf8').toString('latin1'));
    lock?.release();
    return lock === undefined;
  } catch {
    // The bundle is gone.
    return false;
  }
};

/** Sends a signal to a running container. */
export async function killContainer(
  store: Store,
  container: ContainerManifest,
  signal: string,
): Promise<void> {
  const { id } = container;
  const number = signalNumber(signal);
  const { state } = currentState(store, id);
  if (!isRunning(state)) {
    throw new UserError(`Cannot kill container: ${container.name}: container is not running`);
  }
  const deadly = number === constants.signals.SIGKILL;
  if (deadly) await noteStopped(store, id);
  signalProcess(state.pid, state.start, number);
  if (!deadly) return;
  // A frozen process dies when it is thawed.
  await thaw(store, container);
  await waitForExit(store, id, state);
  await ended(store, id);
}

export async function pauseContainer(store: Store, container: ContainerManifest): Promise<void> {
  const { id, name } = container;
  await withContainer(store, id, async () => {
    const state = mustRun(store, id, name);
    if (state.status === 'paused') throw new UserError(`Container ${name} is already paused`);
    await runtime(store, runtimeOf(container), ['pause', id]);
    writeState(store, id, { ...state, status: 'paused' }, false);
  });
}

export async function unpauseContainer(store: Store, container: ContainerManifest): Promise<void> {
  const { state } = currentState(store, container.id);
  if (state.status !== 'paused') throw new UserError(`Container ${container.name} is not paused`);
  await thaw(store, container);
}

/** Whether the policy has an ended container started again. */
function wantsRestart({ host }: ContainerManifest, state: ContainerState): boolean {
  if (state.stopped) return false;
  const { Name, MaximumRetryCount } = host.RestartPolicy;
  if (Name === 'always' || Name === 'unless-stopped') return true;
  if (Name !== 'on-failure' || state.exitCode === 0) return false;
  return MaximumRetryCount === 0 || state.restartCount < MaximumRetryCount;
}

/** Docker's: doubled from a tenth of a second, a minute at most; after ten seconds of life from the beginning. */
function restartDelay(state: ContainerState): number {
  const lived = Date.parse(state.finishedAt) - Date.parse(state.startedAt);
  if (lived > 10_000) return 100;
  return Math.min(60_000, 100 * 2 ** Math.min(state.restartCount, 10));
}

/**
 * Does what there is to do when a container has ended: what conmon's exit command calls, and who waited for it.
 * Nothing, when it runs, or has been cleaned up.
 */
export async function cleanUp(store: Store, id: string): Promise<ContainerState | undefined> {
  const container = readContainer(store, id);
  if (!container) return undefined;
  const state = await withContainer(store, id, () => settle(store, container));
  if (isRunning(state) || state.status !== 'exited') return state;
  if (container.host.AutoRemove) await removeContainer(store, container, { volumes: true });
  return state;
}

/** `container cleanup`: the same, and starts it again when its policy says so. */
export async function cleanUpAndRestart(store: Store, id: string): Promise<void> {
  const before = readState(store, id);
  const state = await cleanUp(store, id);
  const container = readContainer(store, id);
  // Somebody else saw its end: whatever comes next is theirs.
  if (!state || !container || before.status === 'exited' || state.status !== 'exited') return;
  if (!wantsRestart(container, state)) return;
  await withContainer(store, id, () => {
    const now = readState(store, id);
    if (now.status === 'exited') writeState(store, id, { ...now, status: 'restarting' }, false);
    return Promise.resolve();
  });
  await sleep(restartDelay(state));
  await withContainer(store, id, async () => {
    const now = readState(store, id);
    // Stopped or started meanwhile.
    if (now.status !== 'restarting' || !readContainer(store, id)) return;
    const counted: ContainerState = {
      ...now,
      status: 'exited',
      restartCount: now.restartCount + 1,
    };
    writeState(store, id, counted, false);
    await startContainer(store, container);
  });
}

/** Waits until a container has ended; resolves with its exit status. */
export async function waitContainer(store: Store, container: ContainerManifest): Promise<number> {
  const { id } = container;
  const { state } = currentState(store, id);
  if (!isRunning(state)) return state.exitCode;
  const exit = await waitForExit(store, id, state);
  if (exit !== undefined) return exit;
  const after = readState(store, id);
  return after.status === 'exited' ? after.exitCode : (readExit(store, id) ?? after.exitCode);
}
