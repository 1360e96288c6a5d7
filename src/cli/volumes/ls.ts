/** `volume ls`. */
import { openStore } from '../../store/state/store.js';
import { volumeUsers } from '../../store/volumes/plain.js';
import { listVolumes, volumePath } from '../../store/volumes/records.js';
import { command } from '../frame/command.js';
import { filterBool, matchLabels, parseFilters } from '../frame/filters.js';
import { printList } from '../frame/table.js';

export default command({
  usage: 'volume ls [OPTIONS]',
  about: 'List volumes',
  args: [0, 0],
  flags: {
    filter: { kind: 'list', short: 'f', help: "Provide filter values (such as 'dangling=true')" },
    format: { kind: 'string', help: "'table', 'table TEMPLATE', 'json', or 'TEMPLATE'" },
    quiet: { kind: 'bool', short: 'q', help: 'Only display volume names' },
  },
  async run({ values, globals }) {
    const filters = parseFilters(values.filter, ['dangling', 'driver', 'label', 'name']);
    const dangling = filterBool(filters, 'dangling');
    const store = await openStore(globals);
    const any = (key: string, test: (value: string) => boolean): boolean =>
      (filters.get(key)?.length ?? 0) === 0 || (filters.get(key) ?? []).some(test);
    const rows = listVolumes(store)
      .filter(
        ({ name, labels }) =>
          matchLabels(filters.get('label'), labels) &&
          any('name', (value) => name.includes(value)) &&
          any('driver', (value) => value === 'local') &&
          (dangling === undefined || dangling === (volumeUsers(store, name).length === 0)),
      )
      .map(({ name, labels }) => ({
        Driver: 'local',
        Labels: Object.entries(labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(','),
        Links: 'N/A',
        Mountpoint: volumePath(store, name),
        Name: name,
        Scope: 'local',
        Size: 'N/A',
      }));
    const table = { Driver: 'DRIVER', Name: 'VOLUME NAME' };
    const more = { Mountpoint: 'MOUNTPOINT', Scope: 'SCOPE', Labels: 'LABELS' };
    printList(rows, { table, more, quiet: 'Name' }, values);
    return 0;
  },
});
