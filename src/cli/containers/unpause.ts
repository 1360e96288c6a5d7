/** `unpause`. */
import { unpauseContainer } from '../../store/containers/end.js';
import { command } from '../frame/command.js';
import { onEach } from './simple.js';

export default command({
  usage: 'unpause CONTAINER [CONTAINER...]',
  about: 'Unpause all processes within one or more containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {},
  run: ({ args, globals }) => onEach(globals, args, unpauseContainer),
});
