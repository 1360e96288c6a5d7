/** Volumes that are plain directories: `volumes/NAME/_data`. */
import { chmodSync, mkdirSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { HOLDERS, usersOf } from '../images/users.js';
import { publishRename, syncDirectory } from '../state/files.js';
import { newId } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { discard } from '../state/trash.js';
import { unionOptions } from './options.js';
import {
  checkVolumeName,
  findVolume,
  getVolume,
  type VolumeManifest,
  volumePath,
} from './records.js';
import { createUnion, isUnionMounted, removeUnion } from './volumes.js';

/** Docker's mark of a volume that nobody has named. */
export const ANONYMOUS = 'com.docker.volume.anonymous';

interface VolumeRequest {
  /** Absent: an anonymous one. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, string>>;
}

const utf8 = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');

/**
 * Makes a volume: a plain one, or with `lower=` among the options a union. One of this name that exists is
 * returned as it is.
 */
export async function createVolume(store: Store, request: VolumeRequest): Promise<VolumeManifest> {
  const { name = newId(), options = {} } = request;
  const labels = { ...request.labels, ...(request.name === undefined ? { [ANONYMOUS]: '' } : {}) };
  checkVolumeName(name);
  const union = unionOptions(options);
  if (union) return createUnion(store, { name, labels, options, union });
  const other = Object.keys(options).at(0);
  if (other !== undefined) {
    throw new UserError(`${other} is no option of a volume: lower=DIR[:DIR...], size=SIZE`);
  }
  const lease = await store.lease();
  try {
    const made = `${lease.directory}/volume`;
    mkdirSync(`${utf8(made)}/_data`, { recursive: true });
    for (const path of [made, `${made}/_data`]) chmodSync(utf8(path), 0o755);
    syncDirectory(made);
    return await store.locked(() => {
      const known = findVolume(store, name);
      if (known) return known;
      const target = store.dataOf('volumes', name);
      // What a crash between these steps has left: nobody has ever seen it.
      discard(store.root, target);
      publishRename(made, target, store);
      const volume: VolumeManifest = { name, created: new Date().toISOString(), labels, options };
      store.publish('volumes', name, volume);
      return volume;
    });
  } finally {
    lease.release();
  }
}

/** IDs of the containers that have the volume. */
export const volumeUsers = (store: Store, name: string): string[] =>
  usersOf(store, `volumes/${name}`, HOLDERS).map((use) => use.slice(use.indexOf('/') + 1));

/** Removes a volume with its data; UserError while a container has it. */
export async function removeVolume(
  store: Store,
  name: string,
  log: (line: string) => void,
): Promise<void> {
  const volume = getVolume(store, name);
  const refuse = (): void => {
    const users = volumeUsers(store, name);
    if (users.length === 0) return;
    throw new UserError(`remove ${name}: volume is in use - [${users.join(', ')}]`);
  };
  refuse();
  if (volume.union) {
    await removeUnion(store, name, log);
    return;
  }
  const lock = await store.lockObject('volumes', name);
  try {
    await store.locked(() => {
      refuse();
      store.remove('volumes', name);
    });
  } finally {
    lock.release();
  }
}

/** Runs `act` with the directory that has a volume's data; a union is mounted for it. */
export async function withVolumeData<T>(
  store: Store,
  name: string,
  act: (directory: string) => Promise<T>,
): Promise<T> {
  const volume = getVolume(store, name);
  const lock = await store.lockObject('volumes', name);
  try {
    if (volume.union && !(await isUnionMounted(store, name, () => undefined))) {
      throw new UserError(`volume ${name} is a union that nobody uses: start a container with it`);
    }
    return await act(volumePath(store, name));
  } finally {
    lock.release();
  }
}
