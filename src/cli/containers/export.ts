/** `export`: a container's file system as a tar. */
import { packLayer } from '../../archive/pack.js';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { Unions } from '../../client/unions.js';
import { findContainer, rootfsOf } from '../../store/containers/records.js';
import { lowersOf } from '../../store/containers/rootfs.js';
import { layerFormat } from '../../store/layers/format.js';
import { openStore } from '../../store/state/store.js';
import { log } from '../../sys/log.js';
import { writeArchive } from '../frame/archive.js';
import { command } from '../frame/command.js';
import { say } from '../frame/output.js';

export default command({
  usage: 'export [OPTIONS] CONTAINER',
  about: "Export a container's filesystem as a tar archive",
  args: [1, 1],
  flags: {
    output: { kind: 'path', short: 'o', help: 'Write to a file, instead of STDOUT' },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const rootfs = rootfsOf(store, findContainer(store, args[0]));
    const { output } = values;
    if (output === undefined && process.stdout.isTTY) {
      throw new UserError('cowardly refusing to save to a terminal. Use the -o flag or redirect');
    }
    const upper = `${rootfs.directory}/upper`;
    await new Unions(log).flush(upper);
    const layers = [upper, ...lowersOf(rootfs)].map(toLatin1);
    const { userxattr } = layerFormat();
    const source = { kind: 'union', layers, userxattr } as const;
    await writeArchive(output, async (write) => {
      const { warnings } = await packLayer(source, write);
      for (const warning of warnings) say(`stratafs: ${warning}`);
    });
    return 0;
  },
});
