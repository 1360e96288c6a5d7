/** Docker's JSON of a container. */
import { bundleOf, type ContainerManifest, rootfsOf } from '../../store/containers/records.js';
import { logOf } from '../../store/containers/monitor.js';
import { lowersOf } from '../../store/containers/rootfs.js';
import { type ContainerState, isUp } from '../../store/containers/state.js';
import { layersUsage } from '../../store/containers/usage.js';
import type { Store } from '../../store/state/store.js';
import { findRuntime } from '../../store/containers/runtime.js';
import { imageMoved } from './status.js';

/** Go's zero time. */
const NEVER = '0001-01-01T00:00:00Z';

function stateDocument(state: ContainerState): object {
  return {
    Status: state.status,
    Running: isUp(state),
    Paused: state.status === 'paused',
    Restarting: state.status === 'restarting',
    OOMKilled: state.oomKilled,
    Dead: false,
    Pid: isUp(state) ? state.pid : 0,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt || NEVER,
    FinishedAt: state.finishedAt || NEVER,
  };
}

function networkDocument({ host, config }: ContainerManifest, state: ContainerState): object {
  const exposed = Object.keys(config.ExposedPorts ?? {}).map((port) => [port, null] as const);
  const up = isUp(state);
  const address = up && host.NetworkMode === 'private' ? (state.address ?? '') : '';
  const gateway = up && host.NetworkMode === 'private' ? (state.gateway ?? '') : '';
  const published = up && host.NetworkMode === 'private' ? host.PortBindings : {};
  return {
    Ports: up ? { ...Object.fromEntries(exposed), ...published } : {},
    IPAddress: address,
    Gateway: gateway,
    Networks: { [host.NetworkMode]: { IPAddress: address, Gateway: gateway } },
  };
}

function hostDocument({ host }: ContainerManifest): object {
  return { ...host, Runtime: host.Runtime || (findRuntime().split('/').at(-1) ?? '') };
}

/** What `inspect` shows; `size`: also what its layers take. */
export function containerDocument(
  store: Store,
  container: ContainerManifest,
  state: ContainerState,
  size: boolean,
): object {
  const { id, name, created, image, config, mounts } = container;
  const [Path = '', ...Args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  const rootfs = rootfsOf(store, container);
  const usage = size ? layersUsage(store, container) : undefined;
  const { directory } = rootfs;
  return {
    Id: id,
    Created: created,
    Path,
    Args,
    State: stateDocument(state),
    Image: image,
    // Ours: the name leads to another image than the one it runs on.
    ImageUpdated: imageMoved(store, container),
    ResolvConfPath: `${directory}/resolv.conf`,
    HostnamePath: `${directory}/hostname`,
    HostsPath: `${directory}/hosts`,
    LogPath: logOf(store, id),
    BundlePath: bundleOf(store, id),
    Name: `/${name}`,
    RestartCount: state.restartCount,
    Driver: 'stratafs',
    Platform: 'linux',
    ...(usage ? { SizeRw: usage.own, SizeRootFs: usage.own + usage.image } : {}),
    HostConfig: hostDocument(container),
    GraphDriver: {
      Name: 'stratafs',
      Data: {
        LowerDir: lowersOf(rootfs).join(':'),
        MergedDir: `${directory}/merged`,
        UpperDir: `${directory}/upper`,
        WorkDir: `${directory}/work`,
      },
    },
    Mounts: mounts.filter(({ Type }) => Type !== 'tmpfs'),
    Config: {
      AttachStdin: false,
      AttachStdout: true,
      AttachStderr: true,
      Domainname: '',
      StdinOnce: false,
      ...config,
    },
    NetworkSettings: networkDocument(container, state),
  };
}
