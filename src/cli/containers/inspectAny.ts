/** `inspect`: containers, images, volumes, whichever has the name; in this order, as Docker does. */
import { UserError } from '../../base/errno.js';
import { findContainer } from '../../store/containers/records.js';
import { inspectImage } from '../../store/images/inspect.js';
import { openStore, type Store } from '../../store/state/store.js';
import { findVolume } from '../../store/volumes/records.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';
import { inspectText } from '../frame/table.js';
import { volumeDocument } from '../volumes/document.js';
import { containerDocument } from './inspectDocument.js';
import { stateOf } from './status.js';

type Look = (store: Store, text: string, size: boolean) => object | undefined;

/** What `act` finds; nothing when it says that there is none. */
function orNothing(act: () => object | undefined): object | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

const LOOKS: Readonly<Record<string, Look>> = {
  container: (store, text, size) => {
    const container = findContainer(store, text);
    return containerDocument(store, container, stateOf(store, container), size);
  },
  image: (store, text) => inspectImage(store, text),
  volume: (store, text) => {
    const volume = findVolume(store, text);
    return volume && volumeDocument(store, volume);
  },
};

export default command({
  usage: 'inspect [OPTIONS] NAME|ID [NAME|ID...]',
  about: 'Return low-level information on containers, images and volumes',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    format: { kind: 'string', short: 'f', help: "'json', or 'TEMPLATE'" },
    size: { kind: 'bool', short: 's', help: 'Display total file sizes of containers' },
    type: { kind: 'string', help: 'Only inspect objects of the given type' },
  },
  async run({ values, args, globals }) {
    const { type } = values;
    if (type !== undefined && !Object.hasOwn(LOOKS, type)) {
      throw new UserError(
        `"${type}" is not a valid value for --type: ${Object.keys(LOOKS).join(', ')}`,
      );
    }
    const looks = type === undefined ? Object.values(LOOKS) : [LOOKS[type]];
    const store = await openStore(globals);
    const documents: object[] = [];
    const status = await forEach(args, (text) => {
      for (const look of looks) {
        const found = orNothing(() => look(store, text, values.size));
        if (!found) continue;
        documents.push(found);
        return Promise.resolve();
      }
      throw new UserError(`No such ${type ?? 'object'}: ${text}`);
    });
    print(inspectText(documents, values.format));
    return status;
  },
});
