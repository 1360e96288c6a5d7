/** `image prune`. */
import { listImages } from '../../store/images/list.js';
import { pruneImages } from '../../store/collect/removeImages.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { confirm } from '../frame/confirm.js';
import { parseFilters } from '../frame/filters.js';
import { humanSize } from '../frame/human.js';
import { print } from '../frame/output.js';
import { passes } from './ls.js';

const ALL =
  'WARNING! This will remove all images without at least one container associated to them.';
const DANGLING = 'WARNING! This will remove all dangling images.';

export default command({
  usage: 'image prune [OPTIONS]',
  about: 'Remove unused images',
  args: [0, 0],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Remove all unused images, not just dangling ones' },
    filter: { kind: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=24h")' },
    force: { kind: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
  },
  async run({ values, globals }) {
    const filters = parseFilters(values.filter, ['label', 'until']);
    if (!values.force && !confirm(values.all ? ALL : DANGLING)) return 0;
    const store = await openStore(globals);
    const wanted = new Set(
      listImages(store)
        .filter(passes(store, filters))
        .map(({ id }) => id),
    );
    const { untagged, deleted, reclaimed } = await pruneImages(store, values.all, (id) =>
      wanted.has(id),
    );
    const lines = [
      ...untagged.map((name) => `untagged: ${name}`),
      ...deleted.map((id) => `deleted: ${id}`),
    ];
    if (lines.length > 0) print(`Deleted Images:\n${lines.join('\n')}\n\n`);
    print(`Total reclaimed space: ${humanSize(reclaimed, 4)}\n`);
    return 0;
  },
});
