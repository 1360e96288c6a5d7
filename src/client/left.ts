/** Mounts that are not as they should be: those that nobody serves, and those that are in no place. */
import { E } from '../base/errno.js';
import { MOUNT_TYPE, type MountRow, mountsOfTypes } from '../sys/mountTable.js';
import { loadNative, type Native } from '../sys/native.js';

/** A process that keeps a file system in use. */
export interface Holder {
  readonly pid: number;
  /** Its cwd, root, exe, an open file (fd), a mapping (map), or its mount namespace (mount). */
  readonly how: 'cwd' | 'root' | 'exe' | 'fd' | 'map' | 'mount';
  readonly name: string;
}

const MOST_HOLDERS = 32;
/** One that is served answers at once; of one that does not, nothing is known. */
const ANSWER_MS = 2000;

interface Dead {
  readonly rows: readonly MountRow[];
  /** One did not answer: the thread that asks it stays, and keeps the process from ending by itself. */
  readonly late: boolean;
}

/**
 * Those of our type in this namespace, besides `served` devices, whose server is gone. Ask only when every
 * host has answered: what a stopped one serves would not.
 */
export async function deadMounts(served: ReadonlySet<string>): Promise<Dead> {
  const rows = mountsOfTypes([MOUNT_TYPE]).filter(({ device }) => !served.has(device));
  if (rows.length === 0) return { rows, late: false };
  const native = loadNative();
  const dead = await Promise.all(rows.map((row) => isDead(native, row)));
  return { rows: rows.filter((_, i) => dead[i] === true), late: dead.includes(undefined) };
}

/** Undefined: it does not answer. */
async function isDead(native: Native, { mountpoint }: MountRow): Promise<boolean | undefined> {
  const asked = native.probePaths([mountpoint], new Int32Array(1));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ANSWER_MS, undefined);
  });
  const answer = await Promise.race([asked, late]);
  clearTimeout(timer);
  if (!answer) return undefined;
  const errno = Number(answer[1].trim());
  return errno === E.ENOTCONN || errno === E.ECONNABORTED;
}

/** Who keeps the file system `device` ("major:minor") in use, as far as this user can see. */
export async function holdersOf(device: string): Promise<Holder[]> {
  const [major, minor] = device.split(':').map(Number);
  const [, text] = await loadNative().holders(major, minor, MOST_HOLDERS);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [pid, how, ...name] = line.split(' ');
      return { pid: Number(pid), how: how as Holder['how'], name: name.join(' ') };
    });
}
