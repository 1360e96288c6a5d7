/** Starting a container and staying with it: `run`, `start -a`. */
import { cleanUp } from '../../store/containers/end.js';
import { startContainer, withContainer } from '../../store/containers/lifecycle.js';
import { attendedOf } from '../../store/containers/monitor.js';
import { type ContainerManifest, readContainer } from '../../store/containers/records.js';
import { type ContainerState, readState } from '../../store/containers/state.js';
import { makeDirectory } from '../../store/state/files.js';
import { type Lock, tryLock } from '../../store/state/lock.js';
import type { Store } from '../../store/state/store.js';
import { toLatin1 } from '../../base/bytes.js';
import { Joined, type JoinOptions } from './streams.js';

/** While it is held, conmon's exit command leaves the end to us. */
function attend(store: Store, { id, host }: ContainerManifest): Lock | undefined {
  // One that is started again is not over with its end.
  if (host.RestartPolicy.Name !== 'no') return undefined;
  makeDirectory(`${store.run}/containers`);
  return tryLock(toLatin1(attendedOf(store, id)));
}

/**
 * Starts the container with our streams joined to it. Resolves with its exit status, or with 0 when the user
 * has left it. Rejects as startContainer.
 */
export async function runAttached(
  store: Store,
  container: ContainerManifest,
  options: JoinOptions,
): Promise<number> {
  const { id } = container;
  const lock = attend(store, container);
  let joined: Joined | undefined;
  try {
    const state = await withContainer(store, id, () =>
      startContainer(store, container, (created) => {
        joined = new Joined(store, id, created, options);
      }),
    );
    const exit = await (joined ?? new Joined(store, id, state, options)).end(state);
    if (exit === 'detached') return 0;
    return await finish(store, id, exit, lock);
  } catch (error) {
    joined?.drop();
    throw error;
  } finally {
    lock?.release();
  }
}

/** What comes after the end; by us, or, where we do not attend, by conmon's exit command. */
async function finish(
  store: Store,
  id: string,
  exit: number | undefined,
  lock: Lock | undefined,
): Promise<number> {
  const ended: ContainerState | undefined = lock
    ? await cleanUp(store, id)
    : readContainer(store, id) && readState(store, id);
  return exit ?? ended?.exitCode ?? 255;
}
