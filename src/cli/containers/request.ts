/** From the flags of `create` and `run` to what the store is asked for. */
import { UserError } from '../../base/errno.js';
import type { ContainerRequest } from '../../store/containers/create.js';
import { signalNumber } from '../../store/containers/signals.js';
import type { HostConfig, Limits } from '../../store/containers/records.js';
import { textOf, type Values } from '../frame/flags.js';
import type { CONTAINER_FLAGS } from './flags.js';
import { parseMount, parseTmpfs, parseVolume } from './mountFlags.js';
import { exposed, portBindings } from './ports.js';
import {
  parseBytes,
  parseCpus,
  parseDevice,
  parseEnvironment,
  parseHost,
  parseMemory,
  parseNamespace,
  parseNetwork,
  parsePairs,
  parseRestart,
  parseSwap,
  parseUlimit,
  readLines,
} from './values.js';

export type ContainerValues = Values<typeof CONTAINER_FLAGS>;

type LimitValues = Pick<
  ContainerValues,
  | 'memory'
  | 'memory-swap'
  | 'memory-reservation'
  | 'cpus'
  | 'cpu-shares'
  | 'cpu-period'
  | 'cpu-quota'
  | 'cpuset-cpus'
  | 'cpuset-mems'
  | 'pids-limit'
  | 'blkio-weight'
>;

/** The limits among the flags of `run` and `update`. Throws UserError. */
export function limitsOf(values: LimitValues): Limits {
  const limits: Limits = {
    Memory: parseMemory(values.memory),
    MemorySwap: parseSwap(values['memory-swap']),
    MemoryReservation: parseBytes(values['memory-reservation'], 'memory-reservation'),
    NanoCpus: parseCpus(values.cpus),
    CpuShares: values['cpu-shares'] ?? 0,
    CpuPeriod: values['cpu-period'] ?? 0,
    CpuQuota: values['cpu-quota'] ?? 0,
    CpusetCpus: values['cpuset-cpus'] ?? '',
    CpusetMems: values['cpuset-mems'] ?? '',
    PidsLimit: values['pids-limit'] ?? 0,
    BlkioWeight: values['blkio-weight'] ?? 0,
  };
  if (limits.MemorySwap > 0 && limits.MemorySwap < limits.Memory) {
    throw new UserError('Minimum memoryswap limit should be larger than memory limit');
  }
  if (limits.NanoCpus > 0 && (limits.CpuPeriod > 0 || limits.CpuQuota > 0)) {
    throw new UserError(
      'Conflicting options: --cpus cannot be given with --cpu-period or --cpu-quota',
    );
  }
  return limits;
}

function logConfig(values: ContainerValues): HostConfig['LogConfig'] {
  const Type = values['log-driver'] ?? 'json-file';
  if (!['json-file', 'k8s-file', 'local', 'none'].includes(Type)) {
    throw new UserError(`there is no log driver ${Type}: json-file or none`);
  }
  const Config: Record<string, string | undefined> = parsePairs(values['log-opt']);
  const unknown = Object.keys(Config).find((key) => key !== 'max-size');
  if (unknown !== undefined) throw new UserError(`there is no log option ${unknown}: max-size`);
  const size = Config['max-size'];
  if (size !== undefined) Config['max-size'] = String(parseBytes(size, 'log-opt max-size'));
  return { Type, Config: Config as Record<string, string> };
}

async function hostConfig(values: ContainerValues, exposedByImage: string[]): Promise<HostConfig> {
  const tmpfs = values.tmpfs.map(parseTmpfs);
  const host: HostConfig = {
    ...limitsOf(values),
    Binds: values.volume.filter((each) => parseVolume(each).type === 'bind'),
    NetworkMode: parseNetwork(values.network ?? values.net),
    PortBindings: await portBindings(
      values.publish,
      values['publish-all'] ? [...exposedByImage, ...Object.keys(exposed(values.expose))] : [],
    ),
    RestartPolicy: parseRestart(values.restart),
    AutoRemove: values.rm,
    VolumesFrom: values['volumes-from'],
    CapAdd: values['cap-add'],
    CapDrop: values['cap-drop'],
    Dns: values.dns,
    DnsOptions: values['dns-option'],
    DnsSearch: values['dns-search'],
    ExtraHosts: values['add-host'].map(parseHost),
    GroupAdd: values['group-add'],
    IpcMode: parseNamespace(values.ipc, 'ipc') || 'private',
    PidMode: parseNamespace(values.pid, 'pid'),
    Privileged: values.privileged,
    ReadonlyRootfs: values['read-only'],
    SecurityOpt: values['security-opt'],
    Tmpfs: Object.fromEntries(tmpfs.map(({ destination, mode }) => [destination, mode])),
    ShmSize: parseBytes(values['shm-size'], 'shm-size') || 64 * 2 ** 20,
    Sysctls: parsePairs(values.sysctl),
    Ulimits: values.ulimit.map(parseUlimit),
    Devices: values.device.map(parseDevice),
    OomScoreAdj: values['oom-score-adj'] ?? 0,
    OomKillDisable: values['oom-kill-disable'],
    Init: values.init,
    LogConfig: logConfig(values),
    Runtime: values.runtime ?? '',
  };
  if (host.AutoRemove && host.RestartPolicy.Name !== 'no') {
    throw new UserError('Conflicting options: --restart and --rm');
  }
  return host;
}

/** What is to be made. Throws UserError. `exposedByImage`: ports, for `-P`. */
export async function requestOf(
  values: ContainerValues,
  given: ReadonlySet<string>,
  args: readonly string[],
  exposedByImage: string[],
): Promise<ContainerRequest> {
  const [image, ...command] = args;
  const signal = values['stop-signal'];
  if (signal !== undefined) signalNumber(signal);
  const workdir = values.workdir;
  if (workdir !== undefined && !workdir.startsWith('/')) {
    throw new UserError(
      `the working directory '${workdir}' is invalid, it needs to be an absolute path`,
    );
  }
  const labels = parsePairs([...readLines(values['label-file']), ...values.label]);
  return {
    image,
    ...(values.name === undefined ? {} : { name: values.name.replace(/^\//, '') }),
    ownEntrypoint: given.has('entrypoint'),
    config: {
      Tty: values.tty,
      OpenStdin: values.interactive,
      Env: parseEnvironment(values['env-file'], values.env),
      Cmd: command,
      Entrypoint: values.entrypoint ? [values.entrypoint] : null,
      Labels: labels,
      ExposedPorts: exposed([
        ...values.expose,
        ...values.publish.map((each) => each.replace(/^.*:/, '')),
      ]),
      ...(values.hostname === undefined ? {} : { Hostname: values.hostname }),
      ...(values.user === undefined ? {} : { User: values.user }),
      ...(workdir === undefined ? {} : { WorkingDir: workdir }),
      ...(signal === undefined ? {} : { StopSignal: signal }),
      ...(values['stop-timeout'] === undefined ? {} : { StopTimeout: values['stop-timeout'] }),
      ...(values['no-healthcheck'] ? { Healthcheck: { Test: ['NONE'] } } : {}),
    },
    host: await hostConfig(values, exposedByImage),
    mounts: [
      ...values.volume.map(parseVolume),
      ...values.mount.map(parseMount),
      ...values.tmpfs.map(parseTmpfs),
    ],
  };
}

export const cidfileOf = (values: ContainerValues): string | undefined =>
  values.cidfile === undefined ? undefined : textOf(values.cidfile);
