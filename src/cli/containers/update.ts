/** `update`: other limits, or another restart policy. */
import { updateContainer } from '../../store/containers/update.js';
import type { HostConfig, Limits } from '../../store/containers/records.js';
import { command } from '../frame/command.js';
import { CONTAINER_FLAGS } from './flags.js';
import { limitsOf } from './request.js';
import { onEach } from './simple.js';
import { parseRestart } from './values.js';

/** Which limit a flag sets. */
const FIELDS = {
  memory: 'Memory',
  'memory-swap': 'MemorySwap',
  'memory-reservation': 'MemoryReservation',
  cpus: 'NanoCpus',
  'cpu-shares': 'CpuShares',
  'cpu-period': 'CpuPeriod',
  'cpu-quota': 'CpuQuota',
  'cpuset-cpus': 'CpusetCpus',
  'cpuset-mems': 'CpusetMems',
  'pids-limit': 'PidsLimit',
  'blkio-weight': 'BlkioWeight',
} as const satisfies Readonly<Record<string, keyof Limits>>;

export default command({
  usage: 'update [OPTIONS] CONTAINER [CONTAINER...]',
  about: 'Update configuration of one or more containers',
  args: [1, Number.POSITIVE_INFINITY],
  flags: {
    memory: CONTAINER_FLAGS.memory,
    'memory-swap': CONTAINER_FLAGS['memory-swap'],
    'memory-reservation': CONTAINER_FLAGS['memory-reservation'],
    cpus: CONTAINER_FLAGS.cpus,
    'cpu-shares': CONTAINER_FLAGS['cpu-shares'],
    'cpu-period': CONTAINER_FLAGS['cpu-period'],
    'cpu-quota': CONTAINER_FLAGS['cpu-quota'],
    'cpuset-cpus': CONTAINER_FLAGS['cpuset-cpus'],
    'cpuset-mems': CONTAINER_FLAGS['cpuset-mems'],
    'pids-limit': CONTAINER_FLAGS['pids-limit'],
    'blkio-weight': CONTAINER_FLAGS['blkio-weight'],
    restart: CONTAINER_FLAGS.restart,
  },
  async run({ values, given, args, globals }) {
    const limits = limitsOf(values);
    const changed = Object.entries(FIELDS)
      .filter(([flag]) => given.has(flag))
      .map(([, field]) => [field, limits[field]] as const);
    const policy = given.has('restart') ? { RestartPolicy: parseRestart(values.restart) } : {};
    const change = { ...Object.fromEntries(changed), ...policy } as Partial<HostConfig>;
    return onEach(globals, args, (store, container) => updateContainer(store, container, change));
  },
});
