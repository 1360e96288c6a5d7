/** `volume inspect`. */
import { openStore } from '../../store/state/store.js';
import { getVolume } from '../../store/volumes/records.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';
import { inspectText } from '../frame/table.js';
import { volumeDocument } from './document.js';

export default command({
  usage: 'volume inspect [OPTIONS] VOLUME [VOLUME...]',
  about: 'Display detailed information on one or more volumes',
  args: [1, Number.POSITIVE_INFINITY],
  flags: { format: { kind: 'string', short: 'f', help: "'json', or 'TEMPLATE'" } },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const documents: object[] = [];
    const status = await forEach(args, (name) => {
      documents.push(volumeDocument(store, getVolume(store, name)));
      return Promise.resolve();
    });
    print(inspectText(documents, values.format));
    return status;
  },
});
