/** Commands that do one thing to each of several containers. */
import { UserError } from '../../base/errno.js';
import { type ContainerManifest, findContainer } from '../../store/containers/records.js';
import { openStore, type Store } from '../../store/state/store.js';
import { forEach, type Globals } from '../frame/command.js';
import { print } from '../frame/output.js';

/** Acts on each and prints its name as it was given; failures are reported, and the status is 1. */
export async function onEach(
  globals: Globals,
  args: readonly string[],
  act: (store: Store, container: ContainerManifest) => Promise<void>,
): Promise<number> {
  const store = await openStore(globals);
  return forEach(args, async (text) => {
    await act(store, findContainer(store, text));
    print(`${text}\n`);
  });
}

/** Seconds of `-t`. Throws UserError. */
export function seconds(value: number | undefined): number | undefined {
  if (value !== undefined && value < -1) throw new UserError(`invalid timeout ${value}`);
  return value;
}
