/** `stratafs mounts` and `stratafs stats MNT`. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import { liveMounts, mountStats } from '../mount/client.js';
import { findMounted } from './find.js';

export async function mountsText(json: boolean): Promise<string> {
  const mounts = (await liveMounts()).map(
    ({ mountpoint, lowers, dataLayers, upper, work, readOnly, device, pid }) => ({
      mountpoint: display(mountpoint),
      lowers: lowers.map(display),
      ...(dataLayers === undefined ? {} : { dataLayers: dataLayers.map(display) }),
      ...(upper === undefined ? {} : { upper: display(upper) }),
      ...(work === undefined ? {} : { work: display(work) }),
      readOnly,
      device,
      pid,
    }),
  );
  if (json) return `${JSON.stringify(mounts, undefined, 2)}\n`;
  return mounts
    .map(
      ({ mountpoint, lowers, dataLayers = [], upper, readOnly }) =>
        `${mountpoint} ${readOnly ? 'ro' : 'rw'} lower=${[lowers.join(':'), ...dataLayers].join('::')}${upper === undefined ? '' : ` upper=${upper}`}\n`,
    )
    .join('');
}

export async function statsText(argument: string, json: boolean): Promise<string> {
  const mount = await findMounted(argument);
  const stats = await mountStats(mount);
  if (!stats) throw new UserError(`the mount on ${display(mount.mountpoint)} has ended`);
  if (json) return `${JSON.stringify(stats, undefined, 2)}\n`;
  const { requests, ...totals } = stats;
  const rows = [
    ...Object.entries(totals),
    ...Object.entries(requests)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => [`requests ${name}`, count] as const),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, count]) => `${name.padEnd(width)} ${count}\n`).join('');
}
