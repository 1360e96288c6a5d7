/** `container stats`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { findContainer, listContainers } from '../../store/containers/records.js';
import { isRunning } from '../../store/containers/state.js';
import { readUsage, type Usage } from '../../store/containers/stats.js';
import { shortId } from '../../store/state/ids.js';
import { openStore, type Store } from '../../store/state/store.js';
import type { ContainerManifest } from '../../store/containers/records.js';
import { command } from '../frame/command.js';
import { humanSize } from '../frame/human.js';
import { print } from '../frame/output.js';
import { listText, type Row } from '../frame/table.js';
import { stateOf } from './status.js';

const INTERVAL_MS = 1000;
/** What Docker prints for what cannot be told. */
const UNKNOWN = '--';

const TABLE = {
  ID: 'CONTAINER ID',
  Name: 'NAME',
  CPUPerc: 'CPU %',
  MemUsage: 'MEM USAGE / LIMIT',
  MemPerc: 'MEM %',
  NetIO: 'NET I/O',
  BlockIO: 'BLOCK I/O',
  PIDs: 'PIDS',
};

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

function binarySize(bytes: number): string {
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < BINARY.length - 1; unit++) value /= 1024;
  return `${Number(value.toPrecision(4))}${BINARY[unit]}`;
}

const percent = (part: number, whole: number): string =>
  whole > 0 ? `${((100 * part) / whole).toFixed(2)}%` : UNKNOWN;

interface Sample {
  readonly usage: Usage | undefined;
  readonly at: number;
}

function row(container: ContainerManifest, before: Sample | undefined, now: Sample): Row {
  const { id, name } = container;
  const { usage } = now;
  const cpu =
    usage?.cpu === undefined || before?.usage?.cpu === undefined
      ? UNKNOWN
      : percent(usage.cpu - before.usage.cpu, (now.at - before.at) * 1e6);
  const memory = usage?.memory;
  const limit = usage?.memoryLimit;
  const pair = (a: number | undefined, b: number | undefined): string =>
    a === undefined || b === undefined ? UNKNOWN : `${humanSize(a)} / ${humanSize(b)}`;
  return {
    BlockIO: pair(usage?.read, usage?.written),
    CPUPerc: cpu,
    Container: shortId(id),
    ID: shortId(id),
    MemPerc: memory === undefined ? UNKNOWN : percent(memory, limit ?? 0),
    MemUsage:
      memory === undefined
        ? `${UNKNOWN} / ${UNKNOWN}`
        : `${binarySize(memory)} / ${binarySize(limit ?? 0)}`,
    Name: name,
    NetIO: pair(usage?.received, usage?.sent),
    PIDs: usage?.pids === undefined ? UNKNOWN : String(usage.pids),
  };
}

export default command({
  usage: 'container stats [OPTIONS] [CONTAINER...]',
  about: 'Display a live stream of container(s) resource usage statistics',
  args: [0, Number.POSITIVE_INFINITY],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Show all containers (default shows just running)' },
    format: { kind: 'string', help: "'table', 'table TEMPLATE', 'json', or 'TEMPLATE'" },
    'no-stream': {
      kind: 'bool',
      help: 'Disable streaming stats and only pull the first result',
    },
    'no-trunc': { kind: 'bool', help: "Don't truncate output" },
  },
  async run({ values, args, globals }) {
    const store = await openStore(globals);
    const chosen = (): ContainerManifest[] =>
      args.length > 0
        ? args.map((text) => findContainer(store, text))
        : listContainers(store).filter((each) => values.all || isRunning(stateOf(store, each)));
    const samples = new Map<string, Sample>();
    const measure = (each: ContainerManifest): Sample => ({
      usage: usageOf(store, each),
      at: performance.now(),
    });
    for (const each of chosen()) samples.set(each.id, measure(each));
    for (;;) {
      await sleep(INTERVAL_MS);
      const rows = chosen().map((each) => {
        const now = measure(each);
        const line = row(each, samples.get(each.id), now);
        samples.set(each.id, now);
        return values['no-trunc'] ? { ...line, ID: each.id, Container: each.id } : line;
      });
      const format = values.format === undefined ? {} : { format: values.format };
      const text = listText(rows, { table: TABLE, quiet: 'ID' }, format);
      if (values['no-stream']) {
        print(text);
        return 0;
      }
      print(process.stdout.isTTY ? `\u001b[2J\u001b[H${text}` : text);
    }
  },
});

function usageOf(store: Store, container: ContainerManifest): Usage | undefined {
  const state = stateOf(store, container);
  return isRunning(state) ? readUsage(state.pid) : undefined;
}
