/** `volume import`: a tar into a volume. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { UserError } from '../../base/errno.js';
import { needProgram } from '../../store/containers/runtime.js';
import { openStore } from '../../store/state/store.js';
import { withVolumeData } from '../../store/volumes/plain.js';
import { command } from '../frame/command.js';

export default command({
  usage: 'volume import VOLUME FILE|-',
  about: 'Import the contents of a tar archive into a volume, over what is there',
  args: [2, 2],
  flags: {},
  async run({ args, globals }) {
    const [name, file] = args;
    const store = await openStore(globals);
    // tar keeps to the directory: no member with "..", nothing through a link that it has made itself.
    const tar = needProgram('tar', 'volume import');
    return withVolumeData(store, name, async (directory) => {
      const flags = ['--extract', '--numeric-owner', '--same-owner', '--same-permissions'];
      const child = spawn(
        tar,
        [...flags, '--xattrs', '--xattrs-include=*', '--directory', directory, '--file', file],
        { stdio: ['inherit', 'inherit', 'inherit'] },
      );
      const [code] = (await once(child, 'close')) as [number | null];
      if (code !== 0) throw new UserError(`tar could not unpack all of ${file} into ${name}`);
      return 0;
    });
  },
});
