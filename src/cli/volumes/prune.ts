/** `volume prune`. */
import { UserError } from '../../base/errno.js';
import { openStore, type Store } from '../../store/state/store.js';
import { ANONYMOUS, removeVolume, volumeUsers } from '../../store/volumes/plain.js';
import { listVolumes, volumePath } from '../../store/volumes/records.js';
import { bytesBelow } from '../../store/containers/usage.js';
import { log } from '../../sys/log.js';
import { command } from '../frame/command.js';
import { confirm } from '../frame/confirm.js';
import { filterBool, matchLabels, parseFilters } from '../frame/filters.js';
import { humanSize } from '../frame/human.js';
import { print } from '../frame/output.js';

/** Removes it, unless a container has begun to use it; its bytes, or undefined. */
async function removeUnused(store: Store, name: string): Promise<number | undefined> {
  const size = bytesBelow(Buffer.from(volumePath(store, name)));
  try {
    await removeVolume(store, name, log);
    return size;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

export default command({
  usage: 'volume prune [OPTIONS]',
  about: 'Remove unused local volumes',
  args: [0, 0],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Remove all unused volumes, not just anonymous ones' },
    filter: { kind: 'list', help: "Provide filter values (such as 'label=<label>')" },
    force: { kind: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
  },
  async run({ values, globals }) {
    const filters = parseFilters(values.filter, ['all', 'label']);
    const all = values.all || filterBool(filters, 'all') === true;
    const which = all ? 'all' : 'anonymous';
    const warning = `WARNING! This will remove ${which} local volumes not used by at least one container.`;
    if (!values.force && !confirm(warning)) return 0;
    const store = await openStore(globals);
    const gone: string[] = [];
    let total = 0;
    for (const { name, labels } of listVolumes(store)) {
      if (!all && !Object.hasOwn(labels, ANONYMOUS)) continue;
      if (!matchLabels(filters.get('label'), labels)) continue;
      if (volumeUsers(store, name).length > 0) continue;
      const size = await removeUnused(store, name);
      if (size === undefined) continue;
      gone.push(name);
      total += size;
    }
    if (gone.length > 0) print(`Deleted Volumes:\n${gone.join('\n')}\n\n`);
    print(`Total reclaimed space: ${humanSize(total, 4)}\n`);
    return 0;
  },
});
