/** `stratafs mounts`. */
import { display } from '../base/bytes.js';
import { askForMounts } from '../client/ask.js';
import { command } from './frame/command.js';
import { print, say } from './frame/output.js';

export async function mountsText(json: boolean): Promise<string> {
  const { mounts: live, silent } = await askForMounts();
  for (const socket of silent) {
    say(`stratafs: the host at ${socket} does not answer: it is stopped`);
  }
  const mounts = live.map(
    ({ mountpoint, lowers, dataLayers, upper, work, readOnly, device, pid, ...host }) => ({
      mountpoint: display(mountpoint),
      lowers: lowers.map(display),
      ...(dataLayers === undefined ? {} : { dataLayers: dataLayers.map(display) }),
      ...(upper === undefined ? {} : { upper: display(upper) }),
      ...(work === undefined ? {} : { work: display(work) }),
      readOnly,
      device,
      pid,
      version: host.version,
      build: host.build,
      path: display(host.path),
    }),
  );
  if (json) return `${JSON.stringify(mounts, undefined, 2)}\n`;
  return mounts
    .map(
      ({ mountpoint, lowers, dataLayers = [], upper, readOnly, pid, version, path }) =>
        `${mountpoint} ${readOnly ? 'ro' : 'rw'} lower=${[lowers.join(':'), ...dataLayers].join('::')}${upper === undefined ? '' : ` upper=${upper}`} host=${pid} (stratafs ${version} in ${path})\n`,
    )
    .join('');
}

export const mounts = command({
  usage: 'mounts [OPTIONS]',
  about: 'List the live mounts and the hosts that serve them',
  flags: { json: { kind: 'bool', help: 'Print JSON' } },
  args: [0, 0],
  plain: true,
  async run({ values }) {
    print(await mountsText(values.json));
    return 0;
  },
});
