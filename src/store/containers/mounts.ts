/** What a container has mounted besides its root: host paths, volumes, tmpfs. */
import { execFile } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { UserError } from '../../base/errno.js';
import { log } from '../../sys/log.js';
import { O_DIRECTORY, O_RDONLY } from '../../sys/constants.js';
import type { Store } from '../state/store.js';
import { findVolume, getVolume, volumePath } from '../volumes/records.js';
import { mountUnion, unmountUnion } from '../volumes/volumes.js';
import { openInside } from './inside.js';
import type { OciMount } from './oci.js';
import type { ContainerManifest, MountPoint } from './records.js';
import type { Placeholder } from './rootfs.js';

const run = promisify(execFile);

/** As `-v` and `--mount` ask for it. */
export interface MountRequest {
  readonly type: 'bind' | 'volume' | 'tmpfs';
  /** Host path, volume name, or '' (an anonymous volume, a tmpfs). */
  readonly source: string;
  readonly destination: string;
  readonly readOnly: boolean;
  /** `rprivate`, `rslave`, `rshared`, and the same without r. */
  readonly propagation: string;
  /** A volume is not filled with what the image has there. */
  readonly noCopy: boolean;
  /** The bind's source is made when it is missing (`-v`, not `--mount`). */
  readonly create: boolean;
  /** The union under a `volume` that is made for this, or mount options of a tmpfs. */
  readonly options: Readonly<Record<string, string>>;
  /** As it was written, for inspect's `Mode`. */
  readonly mode: string;
}

/** tmpfs without these is what Docker makes. */
const TMPFS = ['nosuid', 'nodev', 'noexec'];

function bindMount({ Source, Destination, RW, Propagation }: MountPoint): OciMount {
  const options = ['rbind', Propagation === '' ? 'rprivate' : Propagation, RW ? 'rw' : 'ro'];
  return { destination: Destination, type: 'bind', source: Source, options };
}

function tmpfsMount({ Destination, Mode, RW }: MountPoint): OciMount {
  const given = Mode.split(',').filter((each) => each !== '');
  const opposite = (each: string): string => (each.startsWith('no') ? each.slice(2) : `no${each}`);
  const own = TMPFS.filter((each) => !given.includes(opposite(each)) && !given.includes(each));
  const options = [...own, ...given, ...(RW ? [] : ['ro'])];
  return { destination: Destination, type: 'tmpfs', source: 'tmpfs', options };
}

/** The mounts of a runtime spec. */
export const ociMounts = ({ mounts }: ContainerManifest): OciMount[] =>
  mounts.map((each) => (each.Type === 'tmpfs' ? tmpfsMount(each) : bindMount(each)));

/** What must be there to be mounted on. */
export function placeholdersOf(mounts: readonly MountPoint[]): Placeholder[] {
  return mounts.map(({ Type, Source, Destination, Mode }): Placeholder => {
    if (Type === 'tmpfs') {
      // runc gives a tmpfs the mode of what it is mounted on.
      const mode = /(?:^|,)mode=([0-7]{1,4})(?:,|$)/.exec(Mode)?.[1] ?? '1777';
      return { path: Destination, kind: 'dir', mode: Number.parseInt(mode, 8) };
    }
    const file =
      Type === 'bind' && !(statSync(Source, { throwIfNoEntry: false })?.isDirectory() ?? true);
    return { path: Destination, kind: file ? 'file' : 'dir' };
  });
}

const FILLING = 'filling';

/** Copies what the image has at the volume's place into it, when it is empty. */
async function fill(store: Store, root: string, mount: MountPoint): Promise<void> {
  const name = mount.Name ?? '';
  const lock = await store.lockObject('volumes', name);
  try {
    const data = volumePath(store, name);
    // A copy that was cut off is done again.
    const marker = `${data.slice(0, -'/_data'.length)}/${FILLING}`;
    if (readdirSync(data).length > 0 && !existsSync(marker)) return;
    const fd = openInside(root, mount.Destination, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return;
    try {
      writeFileSync(marker, '');
      await copyTree(fd, data);
      rmSync(marker);
    } finally {
      closeSync(fd);
    }
  } finally {
    lock.release();
  }
}

/** All of the directory `fd`, and what it is itself, into the directory `to`. */
async function copyTree(fd: number, to: string): Promise<void> {
  const target = openSync(to, O_RDONLY | O_DIRECTORY);
  try {
    const from = `/proc/${process.pid}/fd/${fd}/.`;
    await run('cp', ['-a', '--', from, `/proc/${process.pid}/fd/${target}/`]);
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    throw new UserError(`cannot fill the volume at ${to}: ${said.trim().split('\n')[0]}`);
  } finally {
    closeSync(target);
  }
}

/**
 * Makes the container's volumes ready: unions are mounted, and on its first start empty ones are filled from
 * the mounted `root`. Throws UserError when one is gone.
 */
export async function readyVolumes(
  store: Store,
  container: ContainerManifest,
  root: string,
  first: boolean,
): Promise<void> {
  for (const mount of container.mounts) {
    if (mount.Type === 'bind' && !existsSync(mount.Source)) {
      throw new UserError(
        `invalid mount config for type "bind": bind source path does not exist: ${mount.Source}`,
      );
    }
    if (mount.Type !== 'volume') continue;
    const volume = getVolume(store, mount.Name ?? '');
    if (volume.union) await mountUnion(store, volume.name, container.id, log);
    else if (first && !mount.Mode.split(',').includes('nocopy')) await fill(store, root, mount);
  }
}

/** The container uses its volumes no more. Never rejects. */
export async function leaveVolumes(store: Store, container: ContainerManifest): Promise<void> {
  for (const { Type, Name = '' } of container.mounts) {
    if (Type !== 'volume') continue;
    try {
      if (findVolume(store, Name)?.union) await unmountUnion(store, Name, container.id, log);
    } catch (error) {
      log(`volume ${Name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
