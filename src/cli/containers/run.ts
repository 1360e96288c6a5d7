/** `run`. */
import { UserError } from '../../base/errno.js';
import { startContainer, withContainer } from '../../store/containers/lifecycle.js';
import { type ContainerManifest, readContainer } from '../../store/containers/records.js';
import { removeContainer } from '../../store/containers/remove.js';
import { StartError } from '../../store/containers/runtime.js';
import { openStore, type Store } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { print, say, sayError } from '../frame/output.js';
import { makeContainer } from './create.js';
import { CONTAINER_FLAGS } from './flags.js';
import { runAttached } from './foreground.js';
import { type ContainerValues, limitsOf } from './request.js';
import { parseKeys } from './streams.js';

interface RunValues extends ContainerValues {
  readonly attach: readonly string[];
  readonly detach: boolean;
  readonly 'detach-keys': string | undefined;
  readonly 'sig-proxy': boolean;
}

function check(values: RunValues): void {
  limitsOf(values);
  const odd = values.attach.find((each) => !/^std(in|out|err)$/i.test(each));
  if (odd !== undefined) throw new UserError(`invalid --attach '${odd}': stdin, stdout or stderr`);
  if (values.detach && values.attach.length > 0) {
    throw new UserError('Conflicting options: -a and -d');
  }
  if (values.tty && values.interactive && !values.detach && !process.stdin.isTTY) {
    throw new UserError('the input device is not a TTY');
  }
}

async function start(
  store: Store,
  container: ContainerManifest,
  values: RunValues,
): Promise<number> {
  if (values.detach) {
    await withContainer(store, container.id, () => startContainer(store, container));
    print(`${container.id}\n`);
    return 0;
  }
  return runAttached(store, container, {
    stdin: values.interactive,
    tty: values.tty,
    proxy: values['sig-proxy'],
    detachKeys: parseKeys(values['detach-keys']),
  });
}

async function runContainer(
  store: Store,
  values: RunValues,
  given: ReadonlySet<string>,
  args: readonly string[],
): Promise<number> {
  check(values);
  const container = await makeContainer(store, values, given, args);
  if (container.host.NetworkMode !== 'private' && values.publish.length > 0) {
    say('WARNING: Published ports are discarded: the container has no network of its own');
  }
  try {
    return await start(store, container, values);
  } catch (error) {
    // What could not be started is not left behind by --rm.
    if (container.host.AutoRemove && readContainer(store, container.id)) {
      await removeContainer(store, container, { volumes: true });
    }
    throw error;
  }
}

export default command({
  usage: 'run [OPTIONS] IMAGE [COMMAND] [ARG...]',
  about: 'Create and run a new container from an image',
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  flags: {
    ...CONTAINER_FLAGS,
    attach: { kind: 'list', short: 'a', help: 'Attach to STDIN, STDOUT or STDERR' },
    detach: {
      kind: 'bool',
      short: 'd',
      help: 'Run container in background and print container ID',
    },
    'detach-keys': {
      kind: 'string',
      help: 'Override the key sequence for detaching a container',
    },
    'sig-proxy': { kind: 'bool', on: true, help: 'Proxy received signals to the process' },
  },
  async run({ values, given, args, globals }) {
    try {
      const store = await openStore(globals);
      return await runContainer(store, values, given, args);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      sayError(error.message);
      return error instanceof StartError ? error.status : 125;
    }
  },
});
