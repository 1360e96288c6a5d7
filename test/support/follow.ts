import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { layerOptions, mountDevice, Mounted, type Stack } from './mount.js';
import { stratafsBinary } from './needs.js';

const START_MS = 20_000;

/**
 * Mounts with a host of its own that follows its clients: the resident one is shared with other tests
 * and started without STRATAFS_FOLLOW. Runs `body` with its process, and unmounts whatever happens.
 */
export async function withFollowing(
  stack: Stack,
  mountpoint: string,
  body: (host: number) => Promise<void>,
  extra: readonly string[] = [],
): Promise<void> {
  const options = [...layerOptions(stack), ...extra].join(',');
  const host = spawn(stratafsBinary(), ['--foreground', '-o', options, mountpoint], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, STRATAFS_FOLLOW: '1' },
  });
  const ended = once(host, 'exit');
  try {
    const end = performance.now() + START_MS;
    while (mountDevice(mountpoint) === undefined && performance.now() < end) await sleep(20);
    if (mountDevice(mountpoint) === undefined) throw new Error(`no mount on ${mountpoint} in time`);
    await body(host.pid ?? -1);
  } finally {
    await new Mounted('stratafs', mountpoint).unmount().finally(() => {
      const late = setTimeout(() => host.kill('SIGKILL'), START_MS);
      void ended.then(() => {
        clearTimeout(late);
      });
    });
  }
  await ended;
}
