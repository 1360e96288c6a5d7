/** `image inspect`. */
import { inspectImage } from '../../store/images/inspect.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { INSPECT_FLAGS, inspectAll } from '../frame/inspect.js';

export default command({
  usage: 'image inspect [OPTIONS] IMAGE [IMAGE...]',
  about: 'Display detailed information on one or more images',
  args: [1, Number.POSITIVE_INFINITY],
  flags: INSPECT_FLAGS,
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    return inspectAll(args, values.format, (name) => inspectImage(store, name));
  },
});
