/** `volume rm`. */
import { openStore } from '../../store/state/store.js';
import { removeVolume } from '../../store/volumes/plain.js';
import { findVolume } from '../../store/volumes/records.js';
import { log } from '../../sys/log.js';
import { command, forEach } from '../frame/command.js';
import { print } from '../frame/output.js';

export default command({
  usage: 'volume rm [OPTIONS] VOLUME [VOLUME...]',
  about: 'Remove one or more volumes',
  args: [1, Number.POSITIVE_INFINITY],
  flags: { force: { kind: 'bool', short: 'f', help: 'One that is not there is no failure' } },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    return forEach(args, async (name) => {
      if (values.force && !findVolume(store, name)) return;
      await removeVolume(store, name, log);
      print(`${name}\n`);
    });
  },
});
