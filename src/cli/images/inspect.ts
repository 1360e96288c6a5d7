/** `image inspect`. */
import { UserError } from '../../base/errno.js';
import { inspectImage } from '../../store/images/inspect.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { print, say } from '../frame/output.js';
import { inspectText } from '../frame/table.js';

export default command({
  usage: 'image inspect [OPTIONS] IMAGE [IMAGE...]',
  about: 'Display detailed information on one or more images',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    format: { kind: 'string', short: 'f', help: "'json' or a Go template" },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const found: object[] = [];
    const missing: string[] = [];
    for (const text of args) {
      try {
        found.push(inspectImage(store, text));
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        missing.push(error.message);
      }
    }
    // As Docker: what was found is printed, an empty list too.
    print(inspectText(found, values.format));
    for (const message of missing) say(`stratafs: ${message}`);
    return missing.length === 0 ? 0 : 1;
  },
});
