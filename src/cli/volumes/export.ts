/** `volume export`: what is in a volume, as a tar. */
import { packLayer } from '../../archive/pack.js';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { openStore } from '../../store/state/store.js';
import { withVolumeData } from '../../store/volumes/plain.js';
import { writeArchive } from '../frame/archive.js';
import { command } from '../frame/command.js';
import { say } from '../frame/output.js';

export default command({
  usage: 'volume export [OPTIONS] VOLUME',
  about: "Export a volume's contents as a tar archive",
  args: [1, 1],
  flags: {
    output: { kind: 'path', short: 'o', help: 'Write to a file, instead of the standard output' },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const { output } = values;
    if (output === undefined && process.stdout.isTTY) {
      throw new UserError('volume export writes an archive: give -o FILE, or redirect it');
    }
    return withVolumeData(store, args[0], async (directory) => {
      const source = { kind: 'tree', root: toLatin1(directory) } as const;
      await writeArchive(output, async (write) => {
        const { warnings } = await packLayer(source, write);
        for (const warning of warnings) say(`stratafs: ${warning}`);
      });
      return 0;
    });
  },
});
