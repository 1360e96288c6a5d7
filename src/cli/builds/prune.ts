/** `builder prune`: the layer cache and the directories of cache mounts go. */
import { pruneBuilds } from '../../store/builds/prune.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { confirm } from '../frame/confirm.js';
import { parseFilters, parseUntil } from '../frame/filters.js';
import { humanSize } from '../frame/human.js';
import { print } from '../frame/output.js';

const WARNING =
  'WARNING! This will remove the layer cache and the caches of RUN --mount=type=cache.';

export default command({
  usage: 'builder prune [OPTIONS]',
  about: 'Remove the layer cache of builds, and the directories of cache mounts',
  args: [0, 0],
  flags: {
    filter: { kind: 'list', help: "Only what is older: 'until=24h'" },
    force: { kind: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
  },
  async run({ values, globals }) {
    const until = parseFilters(values.filter, ['until']).get('until')?.at(-1);
    const before = until === undefined ? undefined : parseUntil(until);
    if (!values.force && !confirm(WARNING)) return 1;
    const store = await openStore(globals);
    const { removed, bytes } = await pruneBuilds(store, before);
    print(removed.map((key) => `${key}\n`).join(''));
    print(`Total reclaimed space: ${humanSize(bytes, 4)}\n`);
    return 0;
  },
});
