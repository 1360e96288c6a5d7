/** Changes of what is written of a container. */
import { UserError } from '../../base/errno.js';
import type { Store } from '../state/store.js';
import { withContainer } from './lifecycle.js';
import {
  checkContainerName,
  type ContainerManifest,
  type HostConfig,
  listContainers,
  readContainer,
} from './records.js';

function current(store: Store, { id, name }: ContainerManifest): ContainerManifest {
  const now = readContainer(store, id);
  if (now) return now;
  throw new UserError(`No such container: ${name}`);
}

/** Throws UserError when the name is taken. */
export async function renameContainer(
  store: Store,
  container: ContainerManifest,
  name: string,
): Promise<void> {
  checkContainerName(name);
  await store.locked(() => {
    const now = current(store, container);
    if (now.name === name) {
      throw new UserError('Renaming a container with the same name as its current name');
    }
    const holder = listContainers(store).find((each) => each.name === name);
    if (holder) {
      throw new UserError(
        `Conflict. The container name "/${name}" is already in use by container "${holder.id}". You have to remove (or rename) that container to be able to reuse that name.`,
      );
    }
    const renamed: ContainerManifest = { ...now, name };
    store.publish('containers', now.id, renamed);
  });
}

/** Writes other limits or another policy. */
export async function changeHostConfig(
  store: Store,
  container: ContainerManifest,
  change: Partial<HostConfig>,
): Promise<ContainerManifest> {
  return withContainer(store, container.id, () =>
    store.locked(() => {
      const now = current(store, container);
      const changed = { ...now, host: { ...now.host, ...change } };
      store.publish('containers', now.id, changed);
      return changed;
    }),
  );
}
