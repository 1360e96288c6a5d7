/**
 * What a container is doing: `containers/HEX/state.json`. Who changes it holds the container's lock. It is
 * what was known last; whether the process still runs, the kernel is asked.
 */
import { readFileSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import { publishFile, readText } from '../state/files.js';
import type { Store } from '../state/store.js';
import { isAlive } from './process.js';
import { bootId } from './rootfs.js';
import { bundleOf } from './records.js';

type Status = 'created' | 'running' | 'paused' | 'restarting' | 'exited';

export interface ContainerState {
  readonly status: Status;
  /** The boot in which it was started. */
  readonly boot: string;
  readonly pid: number;
  /** With `pid` it names one process. */
  readonly start: string;
  /** conmon's. */
  readonly monitor: number;
  readonly monitorStart: string;
  /** RFC 3339; '' for never. */
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly exitCode: number;
  readonly error: string;
  readonly oomKilled: boolean;
  readonly restartCount: number;
  /** Somebody stopped it: no policy starts it again. */
  readonly stopped: boolean;
  /** The last exit status cannot be told, as nobody watched it end. */
  readonly unknownEnd?: boolean;
  /** The process that connects its network. */
  readonly helper?: { readonly pid: number; readonly start: string };
  readonly address?: string;
  readonly gateway?: string;
}

const CREATED: ContainerState = {
  status: 'created',
  boot: '',
  pid: 0,
  start: '',
  monitor: 0,
  monitorStart: '',
  startedAt: '',
  finishedAt: '',
  exitCode: 0,
  error: '',
  oomKilled: false,
  restartCount: 0,
  stopped: false,
};

const fileOf = (store: Store, id: string): string => `${store.dataOf('containers', id)}/state.json`;

/** What was written last. One that a power loss has damaged tells as much as one that is not there. */
export function readState(store: Store, id: string): ContainerState {
  const text = readText(fileOf(store, id));
  if (text === undefined) return CREATED;
  try {
    return { ...CREATED, ...(JSON.parse(text) as Partial<ContainerState>) };
  } catch {
    return { ...CREATED, status: 'exited', exitCode: UNKNOWN, unknownEnd: true };
  }
}

/** `durable`: it must be there after a power loss; what a reboot ends anyway need not. */
export function writeState(
  store: Store,
  id: string,
  state: ContainerState,
  durable: boolean,
): void {
  publishFile(fileOf(store, id), `${JSON.stringify(state)}\n`, {
    sync: store.sync && durable,
  });
}

/** Docker's status for a container whose end nobody saw. */
const UNKNOWN = 255;

/** The file in which conmon leaves the exit status. */
const exitFileOf = (store: Store, id: string): string => `${bundleOf(store, id)}/exit/${id}`;

/** What conmon left, or undefined. */
export function readExit(store: Store, id: string): number | undefined {
  try {
    const text = readFileSync(exitFileOf(store, id), 'latin1').trim();
    return /^-?\d+$/.test(text) ? Number(text) : undefined;
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
}

export const isUp = ({ status }: ContainerState): boolean =>
  status === 'running' || status === 'paused';

/** The first process of the container lives. */
export const isRunning = (state: ContainerState): boolean =>
  isUp(state) && state.boot === bootId() && isAlive(state.pid, state.start);

/**
 * The state as it is now: as written, or ended, when the process is gone. `settled`: nothing is left to be
 * written about its end.
 */
export function currentState(
  store: Store,
  id: string,
): { readonly state: ContainerState; readonly settled: boolean } {
  const state = readState(store, id);
  if (!isUp(state) || isRunning(state)) return { state, settled: true };
  return { state: endedState(store, id, state), settled: false };
}

/** `state`, after the end of its process. */
function endedState(store: Store, id: string, state: ContainerState): ContainerState {
  const exit = state.boot === bootId() ? readExit(store, id) : undefined;
  return {
    ...state,
    status: 'exited',
    pid: 0,
    start: '',
    exitCode: exit ?? UNKNOWN,
    unknownEnd: exit === undefined,
    finishedAt: new Date().toISOString(),
  };
}

/** Throws UserError unless the container runs. */
export function mustRun(store: Store, id: string, name: string): ContainerState {
  const { state } = currentState(store, id);
  if (isRunning(state)) return state;
  throw new UserError(`container ${name} is not running`);
}
