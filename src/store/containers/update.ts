/** Other limits for a container, also while it runs. */
import { rmSync, writeFileSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { newId } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { runtimeOf } from './lifecycle.js';
import { resourcesOf } from './limits.js';
import { bundleOf, type ContainerManifest, type HostConfig } from './records.js';
import { changeHostConfig } from './rename.js';
import { runtime } from './runtime.js';
import { currentState, isRunning } from './state.js';

/** The kernel first: what it refuses is not written. */
async function apply(store: Store, container: ContainerManifest): Promise<void> {
  const { id } = container;
  const file = `${bundleOf(store, id)}/update-${newId().slice(0, 12)}.json`;
  writeFileSync(file, JSON.stringify(resourcesOf(container.host)));
  try {
    await runtime(store, runtimeOf(container), ['update', '--resources', file, id]);
  } finally {
    rmSync(file, { force: true });
  }
}

/** Throws UserError. */
export async function updateContainer(
  store: Store,
  container: ContainerManifest,
  change: Partial<HostConfig>,
): Promise<void> {
  if (change.RestartPolicy && change.RestartPolicy.Name !== 'no' && container.host.AutoRemove) {
    throw new UserError('Restart policy cannot be updated because AutoRemove is enabled');
  }
  const host: HostConfig = { ...container.host, ...change };
  const limits = Object.keys(change).some((key) => key !== 'RestartPolicy');
  if (limits && isRunning(currentState(store, container.id).state)) {
    await apply(store, { ...container, host });
  }
  await changeHostConfig(store, container, change);
}
