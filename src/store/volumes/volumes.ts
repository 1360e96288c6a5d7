/**
 * Volumes that are unions: a private writable view of data that many share. Used by `stratafs volume`
 * and by the Docker volume plug-in, on one store.
 *
 *     volumes/NAME/_data     the union, while somebody uses the volume
 *     volumes/NAME/upper     its changes; in disk/ when the volume has a size
 *     volumes/NAME/work
 *     volumes/NAME/disk.img  the file system of that size, mounted at disk/
 */
import { mkdirSync, statSync, chmodSync, chownSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { Unions } from '../../client/unions.js';
import { publishRename, syncDirectory } from '../state/files.js';
import type { Store } from '../state/store.js';
import { checkDisk, makeDisk, mountDisk, unmountDisk } from './disk.js';
import { readHolders, writeHolders } from './holders.js';
import {
  checkVolumeName,
  findVolume,
  getVolume,
  type UnionVolume,
  type VolumeManifest,
  volumePath,
} from './records.js';

interface NewVolume {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly union: UnionVolume;
}

type Log = (line: string) => void;

const utf8 = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');
const directoryOf = (store: Store, name: string): string => utf8(store.dataOf('volumes', name));

/** Upper and workdir of a volume in `directory`. */
function changesIn(directory: string, { size }: UnionVolume): { upper: string; work: string } {
  const place = size === undefined ? directory : `${directory}/disk`;
  return { upper: `${place}/upper`, work: `${place}/work` };
}

/** The union begins with the owner and the mode of what it is over. */
function makeChanges(directory: string, union: UnionVolume): void {
  const { upper, work } = changesIn(directory, union);
  const { uid, gid, mode } = statSync(union.lower[0]);
  mkdirSync(upper);
  chownSync(upper, uid, gid);
  chmodSync(upper, mode & 0o7777);
  mkdirSync(work);
}

/** All that a volume has before it is used for the first time. */
async function prepare(directory: string, union: UnionVolume): Promise<void> {
  mkdirSync(`${directory}/_data`);
  if (union.size === undefined) makeChanges(directory, union);
  else {
    await makeDisk(directory, union.size);
    await mountDisk(directory);
    try {
      makeChanges(directory, union);
    } finally {
      await unmountDisk(directory);
    }
  }
}

/**
 * Makes a volume. One of the name that has the same options is returned as it is, as Docker does; one
 * that has others is a UserError.
 */
export async function createUnion(store: Store, wanted: NewVolume): Promise<VolumeManifest> {
  const { name, labels, options, union } = wanted;
  checkVolumeName(name);
  const same = (volume: VolumeManifest | undefined): VolumeManifest | undefined => {
    if (!volume || JSON.stringify(volume.union) === JSON.stringify(union)) return volume;
    throw new UserError(`volume ${name} exists, with other options: remove it first`);
  };
  const known = same(findVolume(store, name));
  if (known) return known;
  if (union.size !== undefined) checkDisk();
  const lease = await store.lease();
  try {
    const made = utf8(`${lease.directory}/volume`);
    mkdirSync(made, 0o711);
    await prepare(made, union);
    syncDirectory(`${lease.directory}/volume`);
    return await store.locked(() => {
      const other = same(findVolume(store, name));
      if (other) return other;
      publishRename(`${lease.directory}/volume`, store.dataOf('volumes', name), store);
      const created = new Date().toISOString();
      const volume: VolumeManifest = { name, created, labels, options, union };
      store.publish('volumes', name, volume);
      return volume;
    });
  } finally {
    lease.release();
  }
}

/** A volume's union, or UserError for a plain volume. */
function unionOf(volume: VolumeManifest): UnionVolume {
  if (volume.union) return volume.union;
  throw new UserError(`volume ${volume.name} is a plain directory, no union`);
}

/** Runs `act` while nobody else mounts, unmounts or removes the volume. */
async function withVolume<T>(store: Store, name: string, act: () => Promise<T>): Promise<T> {
  checkVolumeName(name);
  const lock = await store.lockObject('volumes', name);
  try {
    return await act();
  } finally {
    lock.release();
  }
}

/** Mounts the volume for `holder`, unless it is mounted; returns where. UTF-8. */
export function mountUnion(store: Store, name: string, holder: string, log: Log): Promise<string> {
  return withVolume(store, name, async () => {
    const union = unionOf(getVolume(store, name));
    const place = volumePath(store, name);
    const unions = new Unions(log);
    if (!(await unions.isLive(place))) {
      await unions.end(place);
      const directory = directoryOf(store, name);
      if (union.size !== undefined) await mountDisk(directory);
      const { upper, work } = changesIn(directory, union);
      await unions.mount({ lower: union.lower, upper, work, mountpoint: place });
    }
    const holders = readHolders(store, name).filter((id) => id !== holder);
    writeHolders(store, name, [...holders, holder]);
    return place;
  });
}

async function takeOff(store: Store, name: string, union: UnionVolume, log: Log): Promise<void> {
  await new Unions(log).end(volumePath(store, name));
  if (union.size !== undefined) await unmountDisk(directoryOf(store, name));
}

/** `holder` uses the volume no more; after the last one it is unmounted. */
export function unmountUnion(store: Store, name: string, holder: string, log: Log): Promise<void> {
  return withVolume(store, name, async () => {
    const union = unionOf(getVolume(store, name));
    const left = readHolders(store, name).filter((id) => id !== holder);
    // First: a crash in between leaves a mount that nobody counts on, and not the reverse.
    writeHolders(store, name, left);
    if (left.length === 0) await takeOff(store, name, union, log);
  });
}

/** Removes a volume and what was changed in it; UserError while somebody uses it. */
export function removeUnion(store: Store, name: string, log: Log): Promise<void> {
  return withVolume(store, name, async () => {
    const union = unionOf(getVolume(store, name));
    const { length } = readHolders(store, name);
    if (length > 0) {
      throw new UserError(
        `volume ${name} is in use by ${length} container${length > 1 ? 's' : ''}`,
      );
    }
    await takeOff(store, name, union, log);
    await store.locked(() => {
      store.remove('volumes', name);
    });
  });
}

/** The volume's union is mounted. */
export const isUnionMounted = (store: Store, name: string, log: Log): Promise<boolean> =>
  new Unions(log).isLive(volumePath(store, name));
