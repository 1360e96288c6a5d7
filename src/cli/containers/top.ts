/** `top`. */
import { execFileSync } from 'node:child_process';
import { UserError } from '../../base/errno.js';
import { findContainer } from '../../store/containers/records.js';
import { needProgram } from '../../store/containers/runtime.js';
import { mustRun } from '../../store/containers/state.js';
import { processesOf } from '../../store/containers/processes.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';

export default command({
  usage: 'top CONTAINER [ps OPTIONS]',
  about: 'Display the running processes of a container',
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  flags: {},
  async run({ args, globals }) {
    const [name, ...options] = args;
    const store = await openStore(globals);
    const container = findContainer(store, name);
    const state = mustRun(store, container.id, container.name);
    const pids = await processesOf(store, container, state);
    const ps = needProgram('ps', 'top', 'procps');
    let text: string;
    try {
      text = execFileSync(ps, options.length > 0 ? options : ['-ef'], { encoding: 'utf8' });
    } catch (error) {
      throw new UserError(
        `ps ${options.join(' ')} failed: ${(error as Error).message.split('\n')[0]}`,
      );
    }
    const [head, ...lines] = text.trimEnd().split('\n');
    const column = head.trim().split(/\s+/).indexOf('PID');
    if (column < 0) throw new UserError("Couldn't find PID field in ps output");
    const own = lines.filter((line) => pids.has(Number(line.trim().split(/\s+/)[column])));
    print(`${[head, ...own].join('\n')}\n`);
    return 0;
  },
});
