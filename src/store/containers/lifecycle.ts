/** Starting a container, and what there is to do when it has ended. Who calls these holds its lock. */
import { existsSync, mkdirSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { log } from '../../sys/log.js';
import type { Lock } from '../state/lock.js';
import type { Store } from '../state/store.js';
import { writeBundle } from './bundle.js';
import { leaveVolumes, readyVolumes } from './mounts.js';
import { createMonitored, dropBundle } from './monitor.js';
import { type Addresses, connectNetwork, disconnectNetwork, privateAddresses } from './network.js';
import { bundleOf, type ContainerManifest, rootfsOf } from './records.js';
import { bootId, isRootfsMounted, mountRootfs, unmountRootfs } from './rootfs.js';
import { findRuntime, runtime, StartError } from './runtime.js';
import { type ContainerState, currentState, isRunning, readState, writeState } from './state.js';

/** Runs `act` while no other command changes the container. */
export async function withContainer<T>(
  store: Store,
  id: string,
  act: () => Promise<T>,
): Promise<T> {
  const lock: Lock = await store.lockObject('containers', id);
  try {
    return await act();
  } finally {
    lock.release();
  }
}

const runtimeOf = ({ host }: ContainerManifest): string => findRuntime(host.Runtime || undefined);

/** Undoes what a start has done: network, runtime, mounts, bundle. Never rejects. */
async function release(
  store: Store,
  container: ContainerManifest,
  state: ContainerState,
): Promise<void> {
  const { id } = container;
  disconnectNetwork(store, id, state);
  if (existsSync(bundleOf(store, id))) {
    await runtime(store, runtimeOf(container), ['delete', '--force', id]).catch(
      (error: unknown) => {
        const said = error instanceof Error ? error.message : String(error);
        if (!/does not exist/.test(said)) log(`container ${id.slice(0, 12)}: ${said}`);
      },
    );
  }
  await unmountRootfs(rootfsOf(store, container));
  await leaveVolumes(store, container);
  dropBundle(store, id);
}

/**
 * Brings the record up to date: when the container's process has ended, its exit status is written and what
 * it used is given back. Resolves with its state.
 */
export async function settle(store: Store, container: ContainerManifest): Promise<ContainerState> {
  const { id, host } = container;
  const { state, settled } = currentState(store, id);
  if (settled) return state;
  const oomKilled = existsSync(`${bundleOf(store, id)}/oom`);
  const ended: ContainerState = { ...state, oomKilled };
  // First: after a crash in between, what is left is given back by the next start or rm.
  writeState(store, id, ended, !host.AutoRemove);
  await release(store, container, ended);
  return ended;
}

/** Called before the container's program starts, with the container created. */
type BeforeStart = (state: ContainerState) => Promise<void> | void;

async function bringUp(
  store: Store,
  container: ContainerManifest,
  before: ContainerState,
  ready: BeforeStart,
): Promise<ContainerState> {
  const { id, host } = container;
  const addresses: Addresses = host.NetworkMode === 'private' ? privateAddresses() : {};
  const rootfs = await mountRootfs(rootfsOf(store, container), { volatile: host.AutoRemove });
  await readyVolumes(store, container, rootfs, before.startedAt === '');
  mkdirSync(bundleOf(store, id), { recursive: true, mode: 0o700 });
  writeBundle(store, container, rootfs, addresses);
  const created = await createMonitored(store, container);
  const helper =
    host.NetworkMode === 'private'
      ? { helper: await connectNetwork(store, id, host, created.pid) }
      : {};
  const state: ContainerState = {
    ...before,
    ...created,
    ...helper,
    ...addresses,
    status: 'running',
    boot: bootId(),
    startedAt: new Date().toISOString(),
    finishedAt: '',
    exitCode: 0,
    error: '',
    oomKilled: false,
    stopped: false,
    unknownEnd: false,
  };
  // Before it starts: a crash from here on leaves a container that is known to run.
  writeState(store, id, state, false);
  await ready(state);
  await runtime(store, runtimeOf(container), ['start', id]).catch((error: unknown) => {
    throw new StartError(error instanceof Error ? error.message : String(error));
  });
  return state;
}

/**
 * Starts the container, unless it runs. `ready` is called when it is created. After a failure nothing is
 * left, and the reason is in its state.
 */
export async function startContainer(
  store: Store,
  container: ContainerManifest,
  ready: BeforeStart = () => undefined,
): Promise<ContainerState> {
  const before = await settle(store, container);
  if (isRunning(before)) return before;
  const { id } = container;
  // What a killed command has left.
  if (existsSync(bundleOf(store, id)) || isRootfsMounted(rootfsOf(store, container))) {
    await release(store, container, before);
  }
  try {
    return await bringUp(store, container, before, ready);
  } catch (error) {
    await release(store, container, readState(store, id));
    const said = error instanceof Error ? error.message : String(error);
    const exitCode =
      error instanceof StartError ? error.status : error instanceof UserError ? 125 : 128;
    writeState(store, id, { ...before, error: said, exitCode }, false);
    throw error;
  }
}

/** Gives back what a container that does not run may still hold: before it is removed. */
export async function giveBack(store: Store, container: ContainerManifest): Promise<void> {
  await release(store, container, readState(store, container.id));
}

export { runtimeOf };
