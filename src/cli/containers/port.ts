/** `port`. */
import { UserError } from '../../base/errno.js';
import { findContainer } from '../../store/containers/records.js';
import { publishedPorts } from '../../store/containers/network.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';

export default command({
  usage: 'port CONTAINER [PRIVATE_PORT[/PROTO]]',
  about: 'List port mappings or a specific mapping for the container',
  args: [1, 2],
  flags: {},
  async run({ args, globals }) {
    const [name, wanted] = args as readonly [string, string | undefined];
    const container = findContainer(await openStore(globals), name);
    const ports = publishedPorts(container.host);
    const place = (ip: string, port: number): string => `${ip === '' ? '0.0.0.0' : ip}:${port}`;
    if (wanted === undefined) {
      for (const { port, protocol, hostIp, hostPort } of ports) {
        print(`${port}/${protocol} -> ${place(hostIp, hostPort)}\n`);
      }
      return 0;
    }
    const full = wanted.includes('/') ? wanted : `${wanted}/tcp`;
    const found = ports.filter(({ port, protocol }) => `${port}/${protocol}` === full);
    if (found.length === 0) {
      throw new UserError(`no public port '${full}' published for ${name}`);
    }
    for (const { hostIp, hostPort } of found) print(`${place(hostIp, hostPort)}\n`);
    return 0;
  },
});
