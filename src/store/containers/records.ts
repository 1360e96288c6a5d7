/**
 * Manifests of containers: `state/containers/HEX.json`, written when a container is made and when its name
 * or limits change. What it is doing is in `containers/HEX/state.json` (state.ts). `config` and `host` have
 * Docker's names, as `inspect` shows them.
 */
import { UserError } from '../../base/errno.js';
import type { RunConfig } from '../content/documents.js';
import { treesOf } from '../layers/stack.js';
import { type Digest, findByPrefix } from '../state/ids.js';
import type { Manifest, Store } from '../state/store.js';
import type { RootfsPlace } from './rootfs.js';
import { utf8 } from './rootfs.js';

export interface ContainerConfig extends RunConfig {
  readonly Hostname: string;
  readonly Tty: boolean;
  readonly OpenStdin: boolean;
  /** The name that was given for the image. */
  readonly Image: string;
  readonly Env: readonly string[];
}

export interface PortBinding {
  readonly HostIp: string;
  readonly HostPort: string;
}

export interface DeviceMapping {
  readonly PathOnHost: string;
  readonly PathInContainer: string;
  readonly CgroupPermissions: string;
}

export interface Ulimit {
  readonly Name: string;
  readonly Hard: number;
  readonly Soft: number;
}

/** Limits: 0 is none. `update` changes them. */
export interface Limits {
  readonly Memory: number;
  readonly MemorySwap: number;
  readonly MemoryReservation: number;
  readonly NanoCpus: number;
  readonly CpuShares: number;
  readonly CpuPeriod: number;
  readonly CpuQuota: number;
  readonly CpusetCpus: string;
  readonly CpusetMems: string;
  readonly PidsLimit: number;
  readonly BlkioWeight: number;
}

export interface RestartPolicy {
  readonly Name: 'no' | 'always' | 'unless-stopped' | 'on-failure';
  readonly MaximumRetryCount: number;
}

export interface HostConfig extends Limits {
  readonly Binds: readonly string[];
  readonly NetworkMode: 'none' | 'host' | 'private';
  readonly PortBindings: Readonly<Record<string, readonly PortBinding[]>>;
  readonly RestartPolicy: RestartPolicy;
  readonly AutoRemove: boolean;
  readonly VolumesFrom: readonly string[];
  readonly CapAdd: readonly string[];
  readonly CapDrop: readonly string[];
  readonly Dns: readonly string[];
  readonly DnsOptions: readonly string[];
  readonly DnsSearch: readonly string[];
  readonly ExtraHosts: readonly string[];
  readonly GroupAdd: readonly string[];
  readonly IpcMode: string;
  readonly PidMode: string;
  readonly Privileged: boolean;
  readonly ReadonlyRootfs: boolean;
  readonly SecurityOpt: readonly string[];
  /** Options of mount(8) for each destination. */
  readonly Tmpfs: Readonly<Record<string, string>>;
  readonly ShmSize: number;
  readonly Sysctls: Readonly<Record<string, string>>;
  readonly Ulimits: readonly Ulimit[];
  readonly Devices: readonly DeviceMapping[];
  readonly OomScoreAdj: number;
  readonly OomKillDisable: boolean;
  readonly Init: boolean;
  readonly LogConfig: {
    readonly Type: string;
    readonly Config: Readonly<Record<string, string>>;
  };
  /** '' for the default one. */
  readonly Runtime: string;
}

/** As Docker's inspect shows it. */
export interface MountPoint {
  readonly Type: 'bind' | 'volume' | 'tmpfs';
  readonly Name?: string;
  readonly Source: string;
  readonly Destination: string;
  readonly Driver?: string;
  readonly Mode: string;
  readonly RW: boolean;
  readonly Propagation: string;
}

export interface ContainerManifest extends Manifest {
  /** 64 digits, the key. */
  readonly id: string;
  readonly name: string;
  /** RFC 3339. */
  readonly created: string;
  readonly image: Digest;
  /** Diff ids, bottom first. */
  readonly layers: readonly Digest[];
  readonly config: ContainerConfig;
  readonly host: HostConfig;
  readonly mounts: readonly MountPoint[];
  /** Volumes that were made for this container and have no name of anybody's: `rm -v` removes them. */
  readonly anonymous: readonly string[];
}

/** Docker's names of containers. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** Throws UserError. */
export function checkContainerName(name: string): void {
  if (NAME.test(name) && name.length <= 200) return;
  throw new UserError(
    `Invalid container name (${name.slice(0, 60)}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
  );
}

export const readContainer = (store: Store, id: string): ContainerManifest | undefined =>
  store.read('containers', id) as ContainerManifest | undefined;

/** Newest first. One that is removed meanwhile is left out. */
export const listContainers = (store: Store): ContainerManifest[] =>
  store
    .list('containers')
    .flatMap((id) => readContainer(store, id) ?? [])
    .sort((a, b) => (a.created < b.created ? 1 : -1));

/** The container that `text`, a name, an ID or the beginning of one, means. Throws Docker's sentence. */
export function findContainer(store: Store, text: string): ContainerManifest {
  const plain = text.replace(/^\//, '');
  if (/^[0-9a-f]{64}$/.test(plain)) {
    const whole = readContainer(store, plain);
    if (whole) return whole;
  }
  const named = listContainers(store).find(({ name }) => name === plain);
  if (named) return named;
  const id = findByPrefix(store.list('containers'), plain, 'container');
  const found = id === undefined ? undefined : readContainer(store, id);
  if (!found) throw new UserError(`No such container: ${text}`);
  return found;
}

/** Where a container's own files lie. UTF-8. */
export const directoryOf = (store: Store, id: string): string =>
  utf8(store.dataOf('containers', id));

/** Its layers and its writable one. */
export const rootfsOf = (store: Store, { id, layers }: ContainerManifest): RootfsPlace => ({
  layers: treesOf(store, layers),
  directory: directoryOf(store, id),
});

/** What ends with a reboot: bundle, sockets, PIDs. UTF-8. */
export const bundleOf = (store: Store, id: string): string => `${utf8(store.run)}/containers/${id}`;
