/** `start`. */
import { UserError } from '../../base/errno.js';
import { startContainer, withContainer } from '../../store/containers/lifecycle.js';
import { findContainer } from '../../store/containers/records.js';
import { StartError } from '../../store/containers/runtime.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { sayError } from '../frame/output.js';
import { runAttached } from './foreground.js';
import { onEach } from './simple.js';
import { parseKeys } from './streams.js';

export default command({
  usage: 'start [OPTIONS] CONTAINER [CONTAINER...]',
  about: 'Start one or more stopped containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    attach: {
      kind: 'bool',
      short: 'a',
      help: 'Attach STDOUT/STDERR and forward signals',
    },
    'detach-keys': {
      kind: 'string',
      help: 'Override the key sequence for detaching a container',
    },
    interactive: { kind: 'bool', short: 'i', help: "Attach container's STDIN" },
  },
  async run({ values, args, globals }) {
    if (!values.attach && !values.interactive) {
      return onEach(globals, args, async (store, container) => {
        await withContainer(store, container.id, () => startContainer(store, container));
      });
    }
    if (args.length > 1)
      throw new UserError('you cannot start and attach multiple containers at once');
    const store = await openStore(globals);
    const container = findContainer(store, args[0]);
    try {
      return await runAttached(store, container, {
        stdin: values.interactive && container.config.OpenStdin,
        tty: container.config.Tty,
        proxy: true,
        detachKeys: parseKeys(values['detach-keys']),
      });
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      sayError(error.message);
      return error.status;
    }
  },
});
