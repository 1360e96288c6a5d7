/** `volume create`. */
import { UserError } from '../../base/errno.js';
import { openStore } from '../../store/state/store.js';
import { createVolume } from '../../store/volumes/plain.js';
import { parsePairs } from '../containers/values.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';

export default command({
  usage: 'volume create [OPTIONS] [VOLUME]',
  about: 'Create a volume',
  args: [0, 1],
  flags: {
    driver: { kind: 'string', short: 'd', help: 'Volume driver: local' },
    label: { kind: 'list', help: 'Set metadata for a volume' },
    name: { kind: 'string', help: 'As the argument' },
    opt: {
      kind: 'list',
      short: 'o',
      help: 'lower=DIR[:DIR...]: a private writable union over shared data; size=SIZE: its limit',
    },
  },
  async run({ values, args, globals }) {
    const { driver = 'local' } = values;
    if (driver !== 'local') throw new UserError(`there is no volume driver ${driver}: local`);
    const name = args.at(0) ?? values.name;
    const volume = await createVolume(await openStore(globals), {
      ...(name === undefined ? {} : { name }),
      labels: parsePairs(values.label),
      options: parsePairs(values.opt),
    });
    print(`${volume.name}\n`);
    return 0;
  },
});
