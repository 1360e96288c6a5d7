/** `image tree`: which images share which layers. */
import { mustFindImage } from '../../store/images/find.js';
import { imageTree } from '../../store/images/tree.js';
import { shortId } from '../../store/state/ids.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { humanSize } from '../frame/human.js';
import { print } from '../frame/output.js';

export default command({
  usage: 'image tree [OPTIONS] [IMAGE...]',
  about: 'Show images as a tree of their layers: what lies on the same layers hangs together',
  args: [0, Number.POSITIVE_INFINITY],
  flags: {
    format: { kind: 'string', help: "'json': one line a layer" },
    'no-trunc': { kind: 'bool', help: "Don't truncate output" },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const wanted = new Set(args.map((text) => mustFindImage(store, text)));
    const lines = imageTree(store, (id) => wanted.size === 0 || wanted.has(id));
    if (values.format === 'json') {
      for (const { layer, size, images } of lines) {
        print(`${JSON.stringify({ Layer: layer, Size: size, Images: images })}\n`);
      }
      return 0;
    }
    for (const { prefix, layer, size, images } of lines) {
      const id = values['no-trunc'] ? layer : shortId(layer);
      const names = images.length === 0 ? '' : `  ${images.join(', ')}`;
      print(`${prefix}${id}  ${humanSize(size)}${names}\n`);
    }
    return 0;
  },
});
