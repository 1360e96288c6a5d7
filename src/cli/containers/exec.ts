/** `exec`. */
import { UserError } from '../../base/errno.js';
import { execIn } from '../../store/containers/exec.js';
import { findContainer } from '../../store/containers/records.js';
import { StartError } from '../../store/containers/runtime.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { sayError } from '../frame/output.js';
import { parseEnvironment } from './values.js';

export default command({
  usage: 'exec [OPTIONS] CONTAINER COMMAND [ARG...]',
  about: 'Execute a command in a running container',
  args: [2, Number.POSITIVE_INFINITY],
  interspersed: false,
  flags: {
    detach: { kind: 'bool', short: 'd', help: 'Detached mode: run command in the background' },
    env: { kind: 'list', short: 'e', help: 'Set environment variables' },
    'env-file': { kind: 'paths', help: 'Read in a file of environment variables' },
    interactive: { kind: 'bool', short: 'i', help: 'Keep STDIN open even if not attached' },
    privileged: { kind: 'bool', help: 'Give extended privileges to the command' },
    tty: { kind: 'bool', short: 't', help: 'Allocate a pseudo-TTY' },
    user: {
      kind: 'string',
      short: 'u',
      help: 'Username or UID (format: <name|uid>[:<group|gid>])',
    },
    workdir: { kind: 'string', short: 'w', help: 'Working directory inside the container' },
  },
  async run({ values, args, globals }) {
    const [name, ...words] = args;
    const store = await openStore(globals);
    const container = findContainer(store, name);
    if (values.tty && values.interactive && !values.detach && !process.stdin.isTTY) {
      throw new UserError('the input device is not a TTY');
    }
    try {
      return await execIn(store, container, {
        args: words,
        env: parseEnvironment(values['env-file'], values.env),
        tty: values.tty,
        stdin: values.interactive,
        detach: values.detach,
        privileged: values.privileged,
        ...(values.user === undefined ? {} : { user: values.user }),
        ...(values.workdir === undefined ? {} : { cwd: values.workdir }),
      });
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      // The runtime has said it on our standard error, which it shared.
      if (values.detach) sayError(error.message);
      return error.status;
    }
  },
});
