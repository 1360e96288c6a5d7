/** `rename`. */
import { findContainer } from '../../store/containers/records.js';
import { renameContainer } from '../../store/containers/rename.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';

export default command({
  usage: 'rename CONTAINER NEW_NAME',
  about: 'Rename a container',
  args: [2, 2],
  flags: {},
  async run({ args, globals }) {
    const store = await openStore(globals);
    await renameContainer(store, findContainer(store, args[0]), args[1].replace(/^\//, ''));
    return 0;
  },
});
