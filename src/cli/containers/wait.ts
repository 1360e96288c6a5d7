/** `wait`. */
import { waitContainer } from '../../store/containers/end.js';
import { findContainer } from '../../store/containers/records.js';
import { openStore } from '../../store/state/store.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';

export default command({
  usage: 'wait CONTAINER [CONTAINER...]',
  about: 'Block until one or more containers stop, then print their exit codes',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {},
  async run({ args, globals }) {
    const store = await openStore(globals);
    return forEach(args, async (text) => {
      print(`${await waitContainer(store, findContainer(store, text))}\n`);
    });
  },
});
