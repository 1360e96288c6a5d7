/** `restart`. */
import { stopContainer } from '../../store/containers/end.js';
import { startContainer, withContainer } from '../../store/containers/lifecycle.js';
import { command } from '../frame/command.js';
import { onEach, seconds } from './simple.js';

export default command({
  usage: 'restart [OPTIONS] CONTAINER [CONTAINER...]',
  about: 'Restart one or more containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    signal: { kind: 'string', short: 's', help: 'Signal to send to the container' },
    time: { kind: 'int', short: 't', help: 'Seconds to wait before killing the container' },
    timeout: { kind: 'int', help: 'As --time' },
  },
  async run({ values, args, globals }) {
    const timeout = seconds(values.time ?? values.timeout);
    return onEach(globals, args, async (store, container) => {
      await stopContainer(store, container, { timeout, signal: values.signal });
      await withContainer(store, container.id, () => startContainer(store, container));
    });
  },
});
