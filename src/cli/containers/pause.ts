/** `pause`. */
import { pauseContainer } from '../../store/containers/end.js';
import { command } from '../frame/command.js';
import { onEach } from './simple.js';

export default command({
  usage: 'pause CONTAINER [CONTAINER...]',
  about: 'Pause all processes within one or more containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {},
  run: ({ args, globals }) => onEach(globals, args, pauseContainer),
});
