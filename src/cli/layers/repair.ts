/** `layer repair`. */
import { repairLayer } from '../../store/mend/repair.js';
import { shortId, type Digest } from '../../store/state/ids.js';
import { openStore } from '../../store/state/store.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';
import { layersNamed } from './verify.js';

export default command({
  usage: 'layer repair [LAYER...]',
  about:
    'Mend layers (all when none is named) from their blobs; lost blobs from the files or the registry',
  args: [0, Number.POSITIVE_INFINITY],
  flags: {},
  async run({ args, globals }) {
    const store = await openStore(globals);
    return forEach(layersNamed(store, args), async (layer) => {
      const done = await repairLayer(store, layer as Digest);
      print(
        done.length === 0 ? `${shortId(layer)}: ok\n` : done.map((line) => `${line}\n`).join(''),
      );
    });
  },
});
