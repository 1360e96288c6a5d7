/** `container logs`. */
import { UserError } from '../../base/errno.js';
import { type LogLine, readLog } from '../../store/containers/logs.js';
import { findContainer } from '../../store/containers/records.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { parseUntil } from '../frame/filters.js';
import { printBytes } from '../frame/output.js';

function tailOf(text: string | undefined): number {
  if (text === undefined || text === 'all') return -1;
  if (!/^\d+$/.test(text)) throw new UserError(`invalid --tail '${text}': a number, or all`);
  return Number(text);
}

function show({ stream, time, data }: LogLine, timestamps: boolean): void {
  const head = timestamps ? Buffer.from(`${time} `) : Buffer.alloc(0);
  printBytes(Buffer.concat([head, data]), stream);
}

export default command({
  usage: 'logs [OPTIONS] CONTAINER',
  about: 'Fetch the logs of a container',
  args: [1, 1],
  flags: {
    details: { kind: 'bool', help: 'Show extra details (there are none)' },
    follow: { kind: 'bool', short: 'f', help: 'Follow log output' },
    since: { kind: 'string', help: 'Show logs since timestamp or relative (such as 42m)' },
    tail: { kind: 'string', short: 'n', help: 'Number of lines to show from the end of the logs' },
    timestamps: { kind: 'bool', short: 't', help: 'Show timestamps' },
    until: { kind: 'string', help: 'Show logs before a timestamp or relative (such as 42m)' },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const container = findContainer(store, args[0]);
    if (container.host.LogConfig.Type === 'none') {
      throw new UserError('configured logging driver does not support reading');
    }
    const since = values.since === undefined ? undefined : parseUntil(values.since);
    const until = values.until === undefined ? undefined : parseUntil(values.until);
    const lines = readLog(store, container, {
      follow: values.follow,
      tail: tailOf(values.tail),
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
    });
    for await (const line of lines) show(line, values.timestamps);
    return 0;
  },
});
