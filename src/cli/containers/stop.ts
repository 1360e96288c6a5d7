/** `stop`. */
import { stopContainer } from '../../store/containers/end.js';
import { command } from '../frame/command.js';
import { onEach, seconds } from './simple.js';

export default command({
  usage: 'stop [OPTIONS] CONTAINER [CONTAINER...]',
  about: 'Stop one or more running containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    signal: { kind: 'string', short: 's', help: 'Signal to send to the container' },
    time: { kind: 'int', short: 't', help: 'Seconds to wait before killing the container' },
    timeout: { kind: 'int', help: 'As --time' },
  },
  async run({ values, args, globals }) {
    const timeout = seconds(values.time ?? values.timeout);
    return onEach(globals, args, (store, container) =>
      stopContainer(store, container, { timeout, signal: values.signal }),
    );
  },
});
