/** `rm`, `container rm`. */
import { stopContainer } from '../../store/containers/end.js';
import { type ContainerManifest, findContainer } from '../../store/containers/records.js';
import { removeContainer } from '../../store/containers/remove.js';
import { openStore, type Store } from '../../store/state/store.js';
import { UserError } from '../../base/errno.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';

/** `--force`: one that is not there is no failure. */
function find(store: Store, text: string, force: boolean): ContainerManifest | undefined {
  try {
    return findContainer(store, text);
  } catch (error) {
    if (force && error instanceof UserError && /^No such/.test(error.message)) return undefined;
    throw error;
  }
}

export default command({
  usage: 'rm [OPTIONS] CONTAINER [CONTAINER...]',
  about: 'Remove one or more containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    force: { kind: 'bool', short: 'f', help: 'Force the removal of a running container' },
    volumes: {
      kind: 'bool',
      short: 'v',
      help: 'Remove anonymous volumes associated with the container',
    },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    return forEach(args, async (text) => {
      const container = find(store, text, values.force);
      if (!container) return;
      if (values.force) await stopContainer(store, container, { signal: 'KILL' });
      await removeContainer(store, container, { volumes: values.volumes });
      print(`${text}\n`);
    });
  },
});
