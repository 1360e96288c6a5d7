/** `stratafs volume-plugin`: a volume driver of Docker. */
import { writeLine } from '../sys/log.js';
import { type Command, command } from './frame/command.js';

const DEFAULT_ADDRESS = '/run/docker/plugins/stratafs.sock';

export const volumePlugin: Command = command({
  usage: 'volume-plugin [OPTIONS]',
  about: 'Serve volumes to Docker: private writable unions over data that many share',
  flags: {
    address: {
      kind: 'string',
      short: 'a',
      value: 'SOCKET',
      help: `Where to listen (default ${DEFAULT_ADDRESS}, or what the service manager passes)`,
    },
  },
  args: [0, 0],
  async run({ values, globals }) {
    const { runVolumePlugin } = await import('../driver/docker/run.js');
    return runVolumePlugin(globals, values.address ?? DEFAULT_ADDRESS, (line) => {
      writeLine(`stratafs volume-plugin: ${line}`);
    });
  },
});
