/** `layer inspect`. */
import { inspectLayer } from '../../store/layers/inspect.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { INSPECT_FLAGS, inspectAll } from '../frame/inspect.js';

export default command({
  usage: 'layer inspect [OPTIONS] LAYER [LAYER...]',
  about: 'Display detailed information on one or more layers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: INSPECT_FLAGS,
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    return inspectAll(args, values.format, (name) => inspectLayer(store, name));
  },
});
