/** The runtime spec of a container, as Docker makes it: what is isolated, hidden and allowed. */
import { existsSync, readFileSync } from 'node:fs';
import { rootlessUser } from '../state/place.js';
import { uidMap } from '../../sys/userns.js';
import type { DeviceNode, OciMount, OciProcess, Resources, Rlimit, RuntimeSpec } from './oci.js';
import type { ProcessUser } from './users.js';

/** `none`: nothing but loopback; `host`: this machine's; `private`: its own, to be connected. */
export type Network = 'none' | 'host' | 'private';

export interface SpecInput {
  /** The mounted root file system. UTF-8, as all paths here. */
  readonly rootfs: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: ProcessUser;
  /** From `capabilitiesOf`. */
  readonly capabilities: readonly string[];
  /** From `seccompFilter`; absent: no filter. */
  readonly seccomp?: object | undefined;
  readonly network: Network;
  readonly terminal?: boolean;
  readonly readOnly?: boolean;
  readonly hostname?: string;
  /** Besides /proc, /dev and /sys; one of the same destination replaces ours. */
  readonly mounts?: readonly OciMount[];
  readonly privileged?: boolean;
  readonly noNewPrivileges?: boolean;
  readonly pidHost?: boolean;
  readonly ipcHost?: boolean;
  readonly shmSize?: number;
  readonly resources?: Resources;
  readonly devices?: readonly DeviceNode[];
  readonly rlimits?: readonly Rlimit[];
  readonly sysctl?: Readonly<Record<string, string>>;
  readonly oomScoreAdj?: number;
  /** Below the root of every hierarchy; absent: where the runtime is started. */
  readonly cgroup?: string;
}

/** Docker's lists (moby/oci/defaults.go). */
const MASKED = [
  ...['/proc/asound', '/proc/acpi', '/proc/interrupts', '/proc/kcore', '/proc/keys'],
  ...['/proc/latency_stats', '/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug'],
  ...['/proc/scsi', '/sys/firmware', '/sys/devices/virtual/powercap'],
];
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const SHM_SIZE = 64 * 2 ** 20;

/** The unified hierarchy alone (cgroups(7)). */
const isCgroup2 = (): boolean => existsSync('/sys/fs/cgroup/cgroup.controllers');

/** The number is somebody's ID here. */
const isMapped = (id: number): boolean =>
  uidMap().some(({ inside, count }) => id >= inside && id < inside + count);

function sysMounts(input: SpecInput, rootless: boolean): OciMount[] {
  const safe = ['nosuid', 'noexec', 'nodev'];
  const mode = input.privileged ? [] : ['ro'];
  // sysfs belongs to a network namespace: that of others cannot be mounted, only shown.
  if (rootless && input.network === 'host') {
    const options = ['rbind', ...safe, 'ro'];
    return [{ destination: '/sys', type: 'none', source: '/sys', options }];
  }
  const sys = { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...safe, ...mode] };
  if (rootless && !isCgroup2()) return [sys];
  const options = [...safe, 'relatime', ...mode];
  return [sys, { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options }];
}

function baseMounts(input: SpecInput, rootless: boolean): OciMount[] {
  const safe = ['nosuid', 'noexec', 'nodev'];
  const tty = isMapped(5) ? ['gid=5'] : [];
  const pts = ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', ...tty];
  const shm = [...safe, 'mode=1777', `size=${input.shmSize ?? SHM_SIZE}`];
  const shown = (path: string, destination: string): OciMount => ({
    destination,
    type: 'bind',
    source: path,
    options: ['rbind', ...safe],
  });
  return [
    input.pidHost && rootless
      ? shown('/proc', '/proc')
      : { destination: '/proc', type: 'proc', source: 'proc', options: safe },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: pts },
    ...sysMounts(input, rootless),
    input.ipcHost
      ? shown('/dev/mqueue', '/dev/mqueue')
      : { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: safe },
    input.ipcHost
      ? shown('/dev/shm', '/dev/shm')
      : { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: shm },
  ];
}

/** Ours, but those that the user mounts something else over; deeper destinations come later. */
function allMounts(input: SpecInput, rootless: boolean): OciMount[] {
  const own = input.mounts ?? [];
  const taken = new Set(own.map(({ destination }) => destination));
  const base = baseMounts(input, rootless).filter(({ destination }) => !taken.has(destination));
  const depth = ({ destination }: OciMount): number => destination.split('/').length;
  return [...base, ...[...own].sort((a, b) => depth(a) - depth(b))];
}

function namespaces(input: SpecInput): object[] {
  const types = ['mount', 'uts'];
  if (!input.pidHost) types.push('pid');
  if (!input.ipcHost) types.push('ipc');
  if (input.network !== 'host') types.push('network');
  if (isCgroup2() && !input.privileged) types.push('cgroup');
  return types.map((type) => ({ type }));
}

function resourcesOf(input: SpecInput): Resources {
  const access = 'rwm';
  if (input.privileged) return { ...input.resources, devices: [{ allow: true, access }] };
  const devices = [
    { allow: false, access },
    ...(input.devices ?? []).map(({ type, major, minor }) => ({
      allow: true,
      type,
      major,
      minor,
      access,
    })),
  ];
  return { ...input.resources, devices };
}

/** What a process in a container gets: the first one, or one that `exec` adds. */
export function processOf(
  input: Omit<SpecInput, 'rootfs' | 'network' | 'mounts' | 'resources' | 'hostname'>,
): OciProcess {
  const { uid, gid, additionalGids } = input.user;
  const own = uid === 0 ? input.capabilities : [];
  return {
    terminal: input.terminal ?? false,
    user: { uid, gid, additionalGids },
    args: input.args,
    env: input.env,
    cwd: input.cwd,
    // A program with set-ID bits or file capabilities gets those of the bounding set.
    capabilities: { bounding: input.capabilities, effective: own, permitted: own },
    ...(input.rlimits && input.rlimits.length > 0 ? { rlimits: input.rlimits } : {}),
    noNewPrivileges: input.noNewPrivileges ?? false,
    ...(input.oomScoreAdj === undefined ? {} : { oomScoreAdj: input.oomScoreAdj }),
  };
}

/** config.json of a container. */
export function makeSpec(input: SpecInput): RuntimeSpec {
  const rootless = rootlessUser() !== undefined;
  return {
    ociVersion: '1.0.2',
    process: processOf(input),
    root: { path: input.rootfs, readonly: input.readOnly ?? false },
    ...(input.hostname === undefined ? {} : { hostname: input.hostname }),
    mounts: allMounts(input, rootless),
    linux: {
      namespaces: namespaces(input),
      resources: resourcesOf(input),
      // The kernel lets no ordinary user make cgroups here: the runtime goes without them.
      ...(input.cgroup === undefined || rootless ? {} : { cgroupsPath: input.cgroup }),
      ...(input.seccomp === undefined ? {} : { seccomp: input.seccomp }),
      ...(input.devices && input.devices.length > 0 ? { devices: input.devices } : {}),
      ...(input.sysctl ? { sysctl: input.sysctl } : {}),
      ...(input.privileged ? {} : { maskedPaths: MASKED, readonlyPaths: READ_ONLY }),
      // What is mounted in the volumes of the machine later is seen, what the container mounts stays in it.
      rootfsPropagation: 'slave',
    },
  };
}

/** CapBnd of this process, for `capabilitiesOf`. */
export const boundingSet = (): string =>
  /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
