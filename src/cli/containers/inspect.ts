/** `container inspect`. */
import { findContainer } from '../../store/containers/records.js';
import { openStore } from '../../store/state/store.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';
import { inspectText } from '../frame/table.js';
import { containerDocument } from './inspectDocument.js';
import { stateOf } from './status.js';

export default command({
  usage: 'container inspect [OPTIONS] CONTAINER [CONTAINER...]',
  about: 'Display detailed information on one or more containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    format: { kind: 'string', short: 'f', help: "'json', or 'TEMPLATE'" },
    size: { kind: 'bool', short: 's', help: 'Display total file sizes' },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const documents: object[] = [];
    const status = await forEach(args, (text) => {
      const container = findContainer(store, text);
      documents.push(containerDocument(store, container, stateOf(store, container), values.size));
      return Promise.resolve();
    });
    print(inspectText(documents, values.format));
    return status;
  },
});
