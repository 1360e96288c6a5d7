/** `stratafs mounts`. */
import { display } from '../base/bytes.js';
import { askForMounts, type Served } from '../client/ask.js';
import { deadMounts, type Holder, holdersOf } from '../client/left.js';
import { placesOf } from '../sys/mountTable.js';
import { loadNative } from '../sys/native.js';
import { command } from './frame/command.js';
import { print, say } from './frame/output.js';

/** What JSON shows. `dead`: nobody serves it; only mountpoint and device are known then. */
interface Shown {
  readonly state: 'live' | 'detached' | 'dead';
  readonly mountpoint: string;
  readonly device: string;
  /** Of a detached one. */
  readonly holders?: readonly Holder[];
}

interface ShownServed extends Shown {
  readonly state: 'live' | 'detached';
  readonly lowers: readonly string[];
  readonly dataLayers?: readonly string[];
  readonly upper?: string;
  readonly work?: string;
  readonly readOnly: boolean;
  readonly pid: number;
  readonly version: string;
  readonly build: string;
  readonly path: string;
}

async function served(mount: Served): Promise<ShownServed> {
  const { mountpoint, lowers, dataLayers, upper, work, readOnly, device, pid } = mount;
  const detached = placesOf(device).length === 0;
  return {
    mountpoint: display(mountpoint),
    state: detached ? 'detached' : 'live',
    lowers: lowers.map(display),
    ...(dataLayers === undefined ? {} : { dataLayers: dataLayers.map(display) }),
    ...(upper === undefined ? {} : { upper: display(upper) }),
    ...(work === undefined ? {} : { work: display(work) }),
    readOnly,
    device,
    pid,
    version: mount.version,
    build: mount.build,
    path: display(mount.path),
    ...(detached ? { holders: await holdersOf(device) } : {}),
  };
}

function lineOf(mount: ShownServed): string {
  const { mountpoint, lowers, dataLayers = [], upper, readOnly, pid, version, path } = mount;
  const layers = [lowers.join(':'), ...dataLayers].join('::');
  const changes = upper === undefined ? '' : ` upper=${upper}`;
  const state = mount.state === 'live' ? '' : ` detached${heldBy(mount.holders ?? [])}`;
  return `${mountpoint} ${readOnly ? 'ro' : 'rw'} lower=${layers}${changes} host=${pid} (stratafs ${version} in ${path})${state}\n`;
}

function heldBy(holders: readonly Holder[]): string {
  if (holders.length === 0) return '';
  const each = holders.map(({ pid, name, how }) => `${pid} ${name} (${how})`);
  return `, held by ${each.join(', ')}`;
}

interface Listed {
  readonly text: string;
  /** As that of deadMounts. */
  readonly late: boolean;
}

async function listed(json: boolean): Promise<Listed> {
  const { mounts: live, silent } = await askForMounts();
  for (const socket of silent) {
    say(`stratafs: the host at ${socket} does not answer: it is stopped`);
  }
  const shown = await Promise.all(live.map(served));
  const { rows, late } =
    silent.length > 0
      ? { rows: [], late: false }
      : await deadMounts(new Set(live.map(({ device }) => device)));
  const dead = rows.map(
    ({ mountpoint, device }): Shown => ({
      mountpoint: display(mountpoint),
      state: 'dead',
      device,
    }),
  );
  if (json) return { text: `${JSON.stringify([...shown, ...dead], undefined, 2)}\n`, late };
  const gone = dead.map(
    ({ mountpoint }) => `${mountpoint} dead: its host has ended; stratafs unmount ${mountpoint}\n`,
  );
  return { text: [...shown.map(lineOf), ...gone].join(''), late };
}

export const mounts = command({
  usage: 'mounts [OPTIONS]',
  about: 'List the mounts, dead and detached ones too, and the hosts that serve them',
  flags: { json: { kind: 'bool', help: 'Print JSON' } },
  args: [0, 0],
  plain: true,
  async run({ values }) {
    const { text, late } = await listed(values.json);
    print(text);
    if (late) loadNative().exitNow(0);
    return 0;
  },
});
