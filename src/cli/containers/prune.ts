/** `container prune`. */
import { listContainers } from '../../store/containers/records.js';
import { removeContainer } from '../../store/containers/remove.js';
import { layersUsage } from '../../store/containers/usage.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { confirm } from '../frame/confirm.js';
import { matchLabels, parseFilters, parseUntil } from '../frame/filters.js';
import { humanSize } from '../frame/human.js';
import { print } from '../frame/output.js';
import { stateOf } from './status.js';

export default command({
  usage: 'container prune [OPTIONS]',
  about: 'Remove all stopped containers',
  args: [0, 0],
  flags: {
    filter: { kind: 'list', help: "Provide filter values (such as 'until=<timestamp>')" },
    force: { kind: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
  },
  async run({ values, globals }) {
    const filters = parseFilters(values.filter, ['label', 'until']);
    const until = (filters.get('until') ?? []).map((text) => parseUntil(text));
    if (!values.force && !confirm('WARNING! This will remove all stopped containers.')) return 0;
    const store = await openStore(globals);
    const gone: string[] = [];
    let total = 0;
    for (const container of listContainers(store)) {
      const { status } = stateOf(store, container);
      if (status !== 'created' && status !== 'exited') continue;
      if (!matchLabels(filters.get('label'), container.config.Labels)) continue;
      if (!until.every((at) => Date.parse(container.created) < at)) continue;
      const { own } = layersUsage(store, container);
      await removeContainer(store, container);
      gone.push(container.id);
      total += own;
    }
    if (gone.length > 0) print(`Deleted Containers:\n${gone.join('\n')}\n\n`);
    print(`Total reclaimed space: ${humanSize(total, 4)}\n`);
    return 0;
  },
});
