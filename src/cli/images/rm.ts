/** `rmi`, `image rm`. */
import { removeImage } from '../../store/collect/removeImages.js';
import { openStore } from '../../store/state/store.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';

export default command({
  usage: 'rmi [OPTIONS] IMAGE [IMAGE...]',
  about: 'Remove one or more images',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    force: { kind: 'bool', short: 'f', help: 'Force removal of the image' },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    return forEach(args, async (text) => {
      const { untagged, deleted } = await removeImage(store, text, { force: values.force });
      print(untagged.map((name) => `Untagged: ${name}\n`).join(''));
      print(deleted.map((id) => `Deleted: ${id}\n`).join(''));
    });
  },
});
