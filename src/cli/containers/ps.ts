/** `ps`, `container ls`. */
import { UserError } from '../../base/errno.js';
import {
  type ContainerManifest,
  findContainer,
  listContainers,
} from '../../store/containers/records.js';
import type { ContainerState } from '../../store/containers/state.js';
import { findImage } from '../../store/images/find.js';
import { shortId } from '../../store/state/ids.js';
import { openStore, type Store } from '../../store/state/store.js';
import { layersUsage } from '../../store/containers/usage.js';
import { command } from '../frame/command.js';
import { type Filters, matchLabels, parseFilters } from '../frame/filters.js';
import { ago, goTime, humanSize } from '../frame/human.js';
import { type Columns, printList, type Row } from '../frame/table.js';
import { commandLine, imageMoved, imageText, portsText, stateOf, statusText } from './status.js';

const TABLE = {
  ID: 'CONTAINER ID',
  Image: 'IMAGE',
  Command: 'COMMAND',
  RunningFor: 'CREATED',
  Status: 'STATUS',
  Ports: 'PORTS',
  Names: 'NAMES',
};

const MORE = {
  CreatedAt: 'CREATED AT',
  LocalVolumes: 'LOCAL VOLUMES',
  Networks: 'NETWORKS',
  State: 'STATE',
  Labels: 'LABELS',
  Mounts: 'MOUNTS',
  Size: 'SIZE',
};

interface Listed {
  readonly container: ContainerManifest;
  readonly state: ContainerState;
}

const truncated = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most - 1)}…` : text;

function row(store: Store, { container, state }: Listed, whole: boolean, size: boolean): Row {
  const { id, name, created, config, host, mounts } = container;
  const line = commandLine(container);
  const shownMounts = mounts.map(({ Name, Source }) => Name ?? Source);
  return {
    Command: `"${whole ? line : truncated(line, 20)}"`,
    CreatedAt: goTime(created),
    ID: whole ? id : shortId(id),
    Image: imageText(store, container),
    Labels: Object.entries(config.Labels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    LocalVolumes: String(mounts.filter(({ Type }) => Type === 'volume').length),
    Mounts: shownMounts.map((each) => (whole ? each : truncated(each, 15))).join(','),
    Names: name,
    Networks: host.NetworkMode,
    Ports: portsText(container, state),
    RunningFor: ago(created),
    Size: size ? sizeText(store, container) : '0B',
    State: state.status,
    Status: statusText(state, imageMoved(store, container)),
  };
}

function sizeText(store: Store, container: ContainerManifest): string {
  const { own, image } = layersUsage(store, container);
  return `${humanSize(own)} (virtual ${humanSize(own + image)})`;
}

const FILTERS = [
  ...['id', 'name', 'label', 'status', 'exited', 'ancestor', 'before', 'since', 'volume'],
  ...['network', 'publish'],
];

const STATUSES = ['created', 'running', 'paused', 'restarting', 'exited', 'dead', 'removing'];

function matchAncestor(store: Store, names: readonly string[]): (each: Listed) => boolean {
  const images = names.map((name) => findImage(store, name));
  return ({ container: { image, config } }) =>
    images.includes(image) || names.includes(config.Image);
}

function passes(store: Store, filters: Filters): (each: Listed) => boolean {
  const values = (key: string): readonly string[] => filters.get(key) ?? [];
  const any = (key: string, test: (value: string) => boolean): boolean =>
    values(key).length === 0 || values(key).some(test);
  const odd = values('status').find((each) => !STATUSES.includes(each));
  if (odd !== undefined) throw new UserError(`invalid filter 'status=${odd}'`);
  const createdOf = (text: string): string => findContainer(store, text).created;
  const before = values('before').map(createdOf);
  const since = values('since').map(createdOf);
  const ancestor = values('ancestor').length > 0 ? matchAncestor(store, values('ancestor')) : null;
  return (each) => {
    const { container, state } = each;
    return (
      any('id', (value) => container.id.startsWith(value)) &&
      any('name', (value) => new RegExp(value).test(container.name)) &&
      matchLabels(filters.get('label'), container.config.Labels) &&
      any('status', (value) => state.status === value) &&
      any('exited', (value) => state.status === 'exited' && state.exitCode === Number(value)) &&
      (ancestor?.(each) ?? true) &&
      before.every((at) => container.created < at) &&
      since.every((at) => container.created > at) &&
      any('volume', (value) =>
        container.mounts.some(({ Name, Destination }) => Name === value || Destination === value),
      ) &&
      any('network', (value) => container.host.NetworkMode === value) &&
      any('publish', (value) =>
        Object.keys(container.host.PortBindings).some((p) => p.startsWith(value)),
      )
    );
  };
}

export default command({
  usage: 'ps [OPTIONS]',
  about: 'List containers',
  args: [0, 0],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Show all containers (default shows just running)' },
    filter: {
      kind: 'list',
      short: 'f',
      value: 'filter',
      help: 'Filter output based on conditions provided',
    },
    format: { kind: 'string', help: "'table', 'table TEMPLATE', 'json', or 'TEMPLATE'" },
    last: { kind: 'int', short: 'n', help: 'Show n last created containers (all states)' },
    latest: { kind: 'bool', short: 'l', help: 'Show the latest created container (all states)' },
    'no-trunc': { kind: 'bool', help: "Don't truncate output" },
    quiet: { kind: 'bool', short: 'q', help: 'Only display container IDs' },
    size: { kind: 'bool', short: 's', help: 'Display total file sizes' },
  },
  async run({ values, globals }) {
    const filters = parseFilters(values.filter, FILTERS);
    const store = await openStore(globals);
    const last = values.latest ? 1 : (values.last ?? -1);
    const all = values.all || last > 0 || filters.has('status') || filters.has('exited');
    const passing = passes(store, filters);
    const listed = listContainers(store)
      .map((container): Listed => ({ container, state: stateOf(store, container) }))
      .filter(({ state }) => all || state.status === 'running' || state.status === 'paused')
      .filter(passing);
    const shown = last > 0 ? listed.slice(0, last) : listed;
    const table = values.size ? { ...TABLE, Size: 'SIZE' } : TABLE;
    const columns: Columns = { table, more: MORE, quiet: 'ID' };
    printList(
      shown.map((each) => row(store, each, values['no-trunc'], values.size)),
      columns,
      { format: values.format, quiet: values.quiet },
    );
    return 0;
  },
});
