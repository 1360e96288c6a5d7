/** `container cleanup`: what conmon calls when a container has ended. */
import { cleanUpAndRestart } from '../../store/containers/end.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';

export default command({
  usage: 'container cleanup ID',
  about: 'Give back what an ended container used, and start it again when its policy says so',
  args: [1, 1],
  flags: {},
  async run({ args, globals }) {
    await cleanUpAndRestart(await openStore(globals), args[0]);
    return 0;
  },
});
