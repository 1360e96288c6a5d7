/** The live mounts, as programs get them. */
import { display } from '../base/bytes.js';
import { liveMounts } from './ask.js';
import { coded } from './failure.js';

/** One live mount of this user in this mount namespace. Paths are text; bytes that are not UTF-8 are \\xNN. */
export interface MountEntry {
  readonly mountpoint: string;
  /** Topmost first. */
  readonly lowers: readonly string[];
  readonly dataLayers?: readonly string[];
  readonly upper?: string;
  readonly work?: string;
  readonly readOnly: boolean;
  /** "major:minor" of its file system. */
  readonly device: string;
  /** The host that serves it, and its version. */
  readonly pid: number;
  readonly version: string;
}

export async function mounts(): Promise<MountEntry[]> {
  const live = await coded('ERR_HOST', liveMounts);
  return live.map(({ mountpoint, lowers, dataLayers, upper, work, readOnly, device, ...host }) => ({
    mountpoint: display(mountpoint),
    lowers: lowers.map(display),
    ...(dataLayers === undefined ? {} : { dataLayers: dataLayers.map(display) }),
    ...(upper === undefined ? {} : { upper: display(upper) }),
    ...(work === undefined ? {} : { work: display(work) }),
    readOnly,
    device,
    pid: host.pid,
    version: host.version,
  }));
}
