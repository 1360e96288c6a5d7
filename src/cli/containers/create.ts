/** `create`. */
import { existsSync, writeFileSync } from 'node:fs';
import { errnoText, UserError } from '../../base/errno.js';
import { createContainer } from '../../store/containers/create.js';
import type { ContainerManifest } from '../../store/containers/records.js';
import { openStore, type Store } from '../../store/state/store.js';
import { errnoOf } from '../../sys/paths.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';
import { CONTAINER_FLAGS } from './flags.js';
import { bringImage } from './image.js';
import { cidfileOf, type ContainerValues, requestOf } from './request.js';

/** Makes the container that the flags ask for. Throws UserError. */
export async function makeContainer(
  store: Store,
  values: ContainerValues,
  given: ReadonlySet<string>,
  args: readonly string[],
): Promise<ContainerManifest> {
  const cidfile = cidfileOf(values);
  if (cidfile !== undefined && existsSync(cidfile)) {
    throw new UserError(
      `container ID file found, make sure the other container isn't running or delete ${cidfile}`,
    );
  }
  const ports = await bringImage(store, args[0], values);
  const container = await createContainer(store, await requestOf(values, given, args, ports));
  if (cidfile !== undefined) {
    try {
      writeFileSync(cidfile, container.id);
    } catch (error) {
      throw new UserError(`cannot write ${cidfile}: ${errnoText(errnoOf(error))}`);
    }
  }
  return container;
}

export default command({
  usage: 'create [OPTIONS] IMAGE [COMMAND] [ARG...]',
  about: 'Create a new container',
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  flags: CONTAINER_FLAGS,
  async run({ values, given, args, globals }) {
    const store = await openStore(globals);
    const { id } = await makeContainer(store, values, given, args);
    print(`${id}\n`);
    return 0;
  },
});
