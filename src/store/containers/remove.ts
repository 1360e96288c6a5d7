/** Removing containers. */
import { UserError } from '../../base/errno.js';
import { log } from '../../sys/log.js';
import type { Store } from '../state/store.js';
import { findVolume } from '../volumes/records.js';
import { removeVolume, volumeUsers } from '../volumes/plain.js';
import { giveBack, settle, withContainer } from './lifecycle.js';
import { type ContainerManifest, readContainer } from './records.js';
import { isRunning } from './state.js';

interface RemoveOptions {
  /** Its anonymous volumes go, too. */
  readonly volumes?: boolean;
}

async function removeAnonymous(store: Store, { anonymous }: ContainerManifest): Promise<void> {
  for (const name of anonymous) {
    // Another container may have taken it over (--volumes-from).
    if (!findVolume(store, name) || volumeUsers(store, name).length > 0) continue;
    await removeVolume(store, name, log);
  }
}

/** Removes a container that does not run, with its writable layer. Throws UserError when it runs. */
export async function removeContainer(
  store: Store,
  container: ContainerManifest,
  options: RemoveOptions = {},
): Promise<void> {
  const { id, name } = container;
  await withContainer(store, id, async () => {
    if (!readContainer(store, id)) return;
    if (isRunning(await settle(store, container))) {
      throw new UserError(
        `cannot remove container "${name}": container is running: stop the container before removing or force remove`,
      );
    }
    await giveBack(store, container);
    store.remove('containers', id);
    // IDs do not come again: whoever waits for this lock finds no container.
    store.dropLock('containers', id);
  });
  if (options.volumes) await removeAnonymous(store, container);
}
