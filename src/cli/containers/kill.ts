/** `kill`. */
import { killContainer } from '../../store/containers/end.js';
import { command } from '../frame/command.js';
import { onEach } from './simple.js';

export default command({
  usage: 'kill [OPTIONS] CONTAINER [CONTAINER...]',
  about: 'Kill one or more running containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: { signal: { kind: 'string', short: 's', help: 'Signal to send to the container' } },
  run: ({ values, args, globals }) =>
    onEach(globals, args, (store, container) =>
      killContainer(store, container, values.signal ?? 'KILL'),
    ),
});
