/** Limits of a container, as the runtime spec has them. */
import { statSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { rootlessUser } from '../state/place.js';
import type { DeviceNode, Resources, Rlimit } from './oci.js';
import type { DeviceMapping, HostConfig, Limits, Ulimit } from './records.js';

const PERIOD = 100_000;

/** Absent fields are not limited. Throws UserError where no limit can be kept. */
export function resourcesOf(limits: Limits & Partial<HostConfig>): Resources {
  const resources = wantedResources(limits);
  if (Object.keys(resources).length > 0 && rootlessUser() !== undefined) {
    throw new UserError(
      'limits of memory, CPUs and processes need root: an ordinary user has no cgroups',
    );
  }
  return resources;
}

function wantedResources(limits: Limits & Partial<HostConfig>): Resources {
  const { Memory, MemorySwap, MemoryReservation, NanoCpus, CpuQuota } = limits;
  const memory: Record<string, number | boolean> = {};
  if (Memory > 0) {
    memory['limit'] = Memory;
    // As Docker: as much swap again, unless something else is said.
    memory['swap'] = MemorySwap === 0 ? 2 * Memory : MemorySwap;
  }
  if (MemoryReservation > 0) memory['reservation'] = MemoryReservation;
  if (limits.OomKillDisable) memory['disableOOMKiller'] = true;
  const cpu: Record<string, number | string> = {};
  const quota = NanoCpus > 0 ? Math.round((NanoCpus * PERIOD) / 1e9) : CpuQuota;
  if (quota > 0) cpu['quota'] = quota;
  if (quota > 0 || limits.CpuPeriod > 0) cpu['period'] = limits.CpuPeriod || PERIOD;
  if (limits.CpuShares > 0) cpu['shares'] = limits.CpuShares;
  if (limits.CpusetCpus !== '') cpu['cpus'] = limits.CpusetCpus;
  if (limits.CpusetMems !== '') cpu['mems'] = limits.CpusetMems;
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(limits.PidsLimit > 0 ? { pids: { limit: limits.PidsLimit } } : {}),
    ...(limits.BlkioWeight > 0 ? { blockIO: { weight: limits.BlkioWeight } } : {}),
  };
}

export const rlimitsOf = (ulimits: readonly Ulimit[]): Rlimit[] =>
  ulimits.map(({ Name, Hard, Soft }) => ({
    type: `RLIMIT_${Name.toUpperCase()}`,
    hard: Hard,
    soft: Soft,
  }));

/** The device nodes of `--device`. Throws UserError. */
export function devicesOf(devices: readonly DeviceMapping[]): DeviceNode[] {
  return devices.map(({ PathOnHost, PathInContainer }) => {
    const found = statSync(PathOnHost, { throwIfNoEntry: false });
    const type = found?.isCharacterDevice() ? 'c' : found?.isBlockDevice() ? 'b' : undefined;
    if (!found || type === undefined) throw new UserError(`${PathOnHost} is not a device node`);
    // gnu_dev_major and gnu_dev_minor.
    const { rdev, mode, uid, gid } = found;
    const major = (Math.floor(rdev / 256) & 0xfff) | 0;
    const minor = (rdev & 0xff) | (Math.floor(rdev / 4096) & 0xfff00);
    return { path: PathInContainer, type, major, minor, fileMode: mode & 0o777, uid, gid };
  });
}
