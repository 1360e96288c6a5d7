/** Manifests of volumes: `state/volumes/NAME.json`. The data lie in `volumes/NAME/`. */
import { UserError } from '../../base/errno.js';
import type { Manifest, Store } from '../state/store.js';

/** A private writable union over data that many share. */
export interface UnionVolume {
  /** Directories, topmost first; absolute. */
  readonly lower: readonly string[];
  /** Bytes that all changes may take together; without it what the disk has. */
  readonly size?: number;
}

export interface VolumeManifest extends Manifest {
  readonly name: string;
  /** RFC 3339. */
  readonly created: string;
  readonly labels: Readonly<Record<string, string>>;
  /** As they were given with `-o`. */
  readonly options: Readonly<Record<string, string>>;
  /** Absent: a plain directory. */
  readonly union?: UnionVolume;
}

/** Docker's names of volumes. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** Throws UserError. */
export function checkVolumeName(name: string): void {
  if (NAME.test(name) && name.length <= 200) return;
  throw new UserError(
    `'${name.slice(0, 60)}' is no name for a volume: two or more of letters, digits, '_', '.' and '-', beginning with a letter or digit`,
  );
}

export const findVolume = (store: Store, name: string): VolumeManifest | undefined => {
  checkVolumeName(name);
  return store.read('volumes', name) as VolumeManifest | undefined;
};

/** Throws UserError when there is none. */
export function getVolume(store: Store, name: string): VolumeManifest {
  const volume = findVolume(store, name);
  if (!volume) throw new UserError(`no such volume: ${name}`);
  return volume;
}

/** By name. */
export const listVolumes = (store: Store): VolumeManifest[] =>
  store.list('volumes').flatMap((name) => findVolume(store, name) ?? []);

/** Where a volume's data are, or are mounted. UTF-8. */
export const volumePath = (store: Store, name: string): string =>
  Buffer.from(`${store.dataOf('volumes', name)}/_data`, 'latin1').toString('utf8');
