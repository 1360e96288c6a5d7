/** `tag`, `image tag`. */
import { UserError } from '../../base/errno.js';
import { mustFindImage } from '../../store/images/find.js';
import { parseReference, withDefaultTag } from '../../store/images/reference.js';
import { setReference } from '../../store/images/tags.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';

export default command({
  usage: 'tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  about: 'Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE',
  args: [2, 2],
  flags: {},
  async run({ args: [source, target], globals }) {
    const reference = withDefaultTag(parseReference(target));
    if (reference.digest !== undefined) {
      throw new UserError('refusing to create a tag with a digest reference');
    }
    const store = await openStore(globals);
    await store.locked(() => setReference(store, reference, mustFindImage(store, source)));
    return 0;
  },
});
