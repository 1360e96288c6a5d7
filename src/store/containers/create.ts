/** Making a container: everything is decided and written, nothing runs. */
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { mustFindImage, readImage, resolveImage } from '../images/find.js';
import { publishRename, syncDirectory } from '../state/files.js';
import { hexOf, newId } from '../state/ids.js';
import type { Use } from '../state/layout.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { discard } from '../state/trash.js';
import { createVolume, removeVolume } from '../volumes/plain.js';
import { findVolume } from '../volumes/records.js';
import { log } from '../../sys/log.js';
import { type MountRequest, placeholdersOf } from './mounts.js';
import { randomName } from './names.js';
import {
  checkContainerName,
  type ContainerConfig,
  type ContainerManifest,
  findContainer,
  type HostConfig,
  listContainers,
  type MountPoint,
} from './records.js';
import { makeRootfs, utf8 } from './rootfs.js';
import { PLACEHOLDERS } from './step.js';

/** What `create` and `run` ask for. */
export interface ContainerRequest {
  /** As the user wrote it. */
  readonly image: string;
  readonly name?: string;
  readonly config: Omit<ContainerConfig, 'Image' | 'Env' | 'Hostname'> & {
    readonly Env: readonly string[];
    readonly Hostname?: string;
  };
  /** The entrypoint was given, and may be empty: the image's command is not used. */
  readonly ownEntrypoint: boolean;
  readonly host: HostConfig;
  readonly mounts: readonly MountRequest[];
}

type ImageConfigOf = ReturnType<typeof resolveImage>['config'];

/** `KEY=value` lists, the later one of a key wins; a bare KEY takes it away. */
function mergeEnvironment(image: readonly string[], own: readonly string[]): string[] {
  const result = new Map<string, string>();
  for (const each of [...image, ...own]) {
    const at = each.indexOf('=');
    if (at < 0) result.delete(each);
    else result.set(each.slice(0, at), each);
  }
  return [...result.values()];
}

/** What the image says, under what the user says. */
function mergeConfig(
  { image, config, ownEntrypoint }: ContainerRequest,
  imageConfig: ImageConfigOf,
  id: string,
  network: string,
): ContainerConfig {
  const base = imageConfig.config ?? {};
  const command = config.Cmd && config.Cmd.length > 0 ? config.Cmd : null;
  const entrypoint = ownEntrypoint ? config.Entrypoint : base.Entrypoint;
  const stop = config.StopSignal ?? base.StopSignal;
  return {
    ...base,
    ...config,
    Hostname: config.Hostname ?? (network === 'host' ? '' : id.slice(0, 12)),
    Image: image,
    User: config.User || (base.User ?? ''),
    Env: mergeEnvironment(base.Env ?? [], config.Env),
    Entrypoint: entrypoint && entrypoint.length > 0 ? entrypoint : null,
    Cmd: command ?? (ownEntrypoint ? null : (base.Cmd ?? null)),
    WorkingDir: config.WorkingDir || (base.WorkingDir ?? ''),
    Labels: { ...base.Labels, ...config.Labels },
    ExposedPorts: { ...base.ExposedPorts, ...config.ExposedPorts },
    Volumes: { ...base.Volumes, ...config.Volumes },
    ...(stop === undefined ? {} : { StopSignal: stop }),
  };
}

const normal = (path: string): string =>
  `/${path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`;

/** Mounts of other containers, as `--volumes-from NAME[:ro]` takes them over. */
function takenOver(store: Store, sources: readonly string[]): MountPoint[] {
  return sources.flatMap((text) => {
    const [name, mode = ''] = text.split(':');
    const readOnly = mode.split(',').includes('ro');
    return findContainer(store, name)
      .mounts.filter(({ Type }) => Type !== 'tmpfs')
      .map((mount) => (readOnly ? { ...mount, RW: false } : mount));
  });
}

interface Mounts {
  readonly points: readonly MountPoint[];
  readonly anonymous: readonly string[];
}

function bindPoint({ source, destination, ...request }: MountRequest): MountPoint {
  if (request.create && !statSync(source, { throwIfNoEntry: false })) {
    mkdirSync(source, { recursive: true });
  }
  if (!statSync(source, { throwIfNoEntry: false })) {
    throw new UserError(
      `invalid mount config for type "bind": bind source path does not exist: ${source}`,
    );
  }
  return {
    Type: 'bind',
    Source: source,
    Destination: normal(destination),
    Mode: request.mode,
    RW: !request.readOnly,
    Propagation: request.propagation || 'rprivate',
  };
}

function tmpfsPoint({ destination, readOnly, mode }: MountRequest): MountPoint {
  const base = { Type: 'tmpfs', Source: '', Destination: normal(destination) } as const;
  return { ...base, Mode: mode, RW: !readOnly, Propagation: '' };
}

/** Makes volumes that do not exist, and says where everything is mounted; the later of a place wins. */
async function resolveMounts(
  store: Store,
  request: ContainerRequest,
  volumes: readonly string[],
): Promise<Mounts> {
  const points = new Map<string, MountPoint>();
  for (const each of takenOver(store, request.host.VolumesFrom)) points.set(each.Destination, each);
  const anonymous: string[] = [];
  const volumePoint = async (mount: MountRequest): Promise<MountPoint> => {
    const { source, options, readOnly, mode, noCopy } = mount;
    const volume = await createVolume(store, {
      ...(source === '' ? {} : { name: source }),
      options,
    });
    if (source === '') anonymous.push(volume.name);
    return {
      Type: 'volume',
      Name: volume.name,
      Source: `${utf8(store.dataOf('volumes', volume.name))}/_data`,
      Destination: normal(mount.destination),
      Driver: 'local',
      Mode: noCopy && !mode.includes('nocopy') ? [mode, 'nocopy'].filter(Boolean).join(',') : mode,
      RW: !readOnly,
      Propagation: '',
    };
  };
  const make = (mount: MountRequest): MountPoint | Promise<MountPoint> =>
    mount.type === 'bind'
      ? bindPoint(mount)
      : mount.type === 'tmpfs'
        ? tmpfsPoint(mount)
        : volumePoint(mount);
  try {
    for (const mount of request.mounts) {
      const point = await make(mount);
      if (point.Destination === '/') {
        throw new UserError("invalid volume specification: destination can't be '/'");
      }
      points.set(point.Destination, point);
    }
    for (const path of volumes) {
      if (points.has(normal(path))) continue;
      points.set(normal(path), await volumePoint(anonymousMount(path)));
    }
  } catch (error) {
    await dropAnonymous(store, anonymous);
    throw error;
  }
  return { points: [...points.values()], anonymous };
}

const anonymousMount = (destination: string): MountRequest => ({
  type: 'volume',
  source: '',
  destination,
  readOnly: false,
  propagation: '',
  noCopy: false,
  create: false,
  options: {},
  mode: '',
});

async function dropAnonymous(store: Store, names: readonly string[]): Promise<void> {
  for (const name of names) await removeVolume(store, name, log);
}

/** Call it under the store's lock. */
function freeName(store: Store, wanted: string | undefined): string {
  const others = listContainers(store);
  if (wanted === undefined) return randomName((name) => others.some((each) => each.name === name));
  const holder = others.find(({ name }) => name === wanted);
  if (!holder) return wanted;
  throw new UserError(
    `Conflict. The container name "/${wanted}" is already in use by container "${holder.id}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
}

/** Makes the container's own files in the lease and publishes them with the manifest. */
async function publishContainer(
  store: Store,
  lease: Lease,
  container: Omit<ContainerManifest, 'name'>,
  name: string | undefined,
): Promise<ContainerManifest> {
  const { id, layers, mounts, host } = container;
  const made = `${lease.directory}/container`;
  mkdirSync(utf8(made));
  chmodSync(utf8(made), 0o711);
  const trees = layers.map((each) => store.dataOf('layers', hexOf(each))).reverse();
  const own = { layers: trees, directory: utf8(made) };
  makeRootfs(own, [...PLACEHOLDERS, ...placeholdersOf(mounts)]);
  // One that goes with its end need not outlast a power loss; its manifest must be whole all the same.
  const durable = store.sync && !host.AutoRemove;
  if (durable) syncDirectory(made);
  return store.locked(() => {
    const whole: ContainerManifest = { ...container, name: freeName(store, name) };
    const gone = mounts.find(({ Name }) => Name !== undefined && !findVolume(store, Name));
    if (gone) throw new UserError(`volume ${gone.Name ?? ''} was removed meanwhile`);
    lease.keep(`containers/${id}`);
    const target = store.dataOf('containers', id);
    discard(store.root, target);
    publishRename(made, target, { sync: durable });
    store.publish('containers', id, whole);
    return whole;
  });
}

/** Makes a container. Rejects with UserError, and nothing is left. */
export async function createContainer(
  store: Store,
  request: ContainerRequest,
): Promise<ContainerManifest> {
  if (request.name !== undefined) checkContainerName(request.name);
  const lease = await store.lease();
  try {
    const image = await store.locked(() => {
      const found = mustFindImage(store, request.image);
      lease.keep(`images/${hexOf(found)}`);
      if (request.name !== undefined) freeName(store, request.name);
      return { id: found, layers: readImage(store, found).layers };
    });
    const { config: imageConfig } = resolveImage(store, image.id);
    const id = newId();
    const config = mergeConfig(request, imageConfig, id, request.host.NetworkMode);
    const { points, anonymous } = await resolveMounts(
      store,
      request,
      Object.keys(config.Volumes ?? {}),
    );
    const uses: Use[] = [
      `images/${hexOf(image.id)}`,
      ...image.layers.map((each): Use => `layers/${hexOf(each)}`),
      ...points.flatMap(({ Name }): Use[] => (Name === undefined ? [] : [`volumes/${Name}`])),
    ];
    try {
      return await publishContainer(
        store,
        lease,
        {
          id,
          created: new Date().toISOString(),
          image: image.id,
          layers: image.layers,
          config,
          host: request.host,
          mounts: points,
          anonymous,
          uses,
        },
        request.name,
      );
    } catch (error) {
      await dropAnonymous(store, anonymous);
      throw error;
    }
  } finally {
    lease.release();
  }
}
