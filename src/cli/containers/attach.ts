/** `attach`. */
import { mustRun } from '../../store/containers/state.js';
import { findContainer } from '../../store/containers/records.js';
import { openStore } from '../../store/state/store.js';
import { UserError } from '../../base/errno.js';
import { command } from '../frame/command.js';
import { Joined, parseKeys } from './streams.js';

export default command({
  usage: 'attach [OPTIONS] CONTAINER',
  about: 'Attach local standard input, output, and error streams to a running container',
  args: [1, 1],
  flags: {
    'detach-keys': {
      kind: 'string',
      help: 'Override the key sequence for detaching a container',
    },
    'no-stdin': { kind: 'bool', help: 'Do not attach STDIN' },
    'sig-proxy': { kind: 'bool', on: true, help: 'Proxy all received signals to the process' },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const { id, name, config } = findContainer(store, args[0]);
    const state = mustRun(store, id, name);
    if (state.status === 'paused') {
      throw new UserError('You cannot attach to a paused container, unpause it first');
    }
    const joined = new Joined(store, id, state, {
      stdin: config.OpenStdin && !values['no-stdin'],
      tty: config.Tty,
      proxy: values['sig-proxy'],
      detachKeys: parseKeys(values['detach-keys']),
    });
    const exit = await joined.end(state);
    return exit === 'detached' ? 0 : (exit ?? 255);
  },
});
