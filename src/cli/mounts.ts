/** `stratafs mounts`. */
import { display } from '../base/bytes.js';
import { liveMounts } from '../client/ask.js';

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
