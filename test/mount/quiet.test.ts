/** A mount that nobody uses costs no processor time: none of the host's threads is woken. */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { withMount } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';
import { build, file } from '../support/tree.js';

const QUIET_MS = 5000;
/** The host's last compilations and collections after some work take a few seconds. */
const TRIES = 6;

/** How often each thread of a process went to sleep or was sent to it. */
function switches(pid: number): Map<string, number> {
  const tasks = `/proc/${pid}/task`;
  return new Map(
    readdirSync(tasks).map((task) => {
      const status = readFileSync(join(tasks, task, 'status'), 'latin1');
      const counts = [...status.matchAll(/ctxt_switches:\s+(\d+)/g)].map((match) =>
        Number(match[1]),
      );
      return [task, counts.reduce((sum, count) => sum + count, 0)];
    }),
  );
}

/** The most that a thread did more than the one that did least: SIGSTOP and the like wake them all. */
async function stirred(pid: number): Promise<number> {
  const before = switches(pid);
  await sleep(QUIET_MS);
  const grown = [...switches(pid)].map(([task, count]) => count - (before.get(task) ?? 0));
  return Math.max(...grown) - Math.min(...grown);
}

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('a quiet mount', () => {
  const root = scratch('quiet');

  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('wakes no thread', async () => {
    const [low, upper, work, mountpoint] = ['low', 'up', 'work', 'mnt'].map((name) => {
      mkdirSync(join(root, name));
      return join(root, name);
    }) as [string, string, string, string];
    await build(low, [file('a', 'content')]);
    await withMount('stratafs', { lowers: [low], upper, work }, mountpoint, async (client) => {
      await client.must('chmod', 'a', '0600');
      await client.must('readdir', '.');
      const { stdout } = await mustRun(stratafsBinary(), ['mounts', '--json']);
      const mounts = JSON.parse(stdout) as { mountpoint: string; pid: number }[];
      const pid = mounts.find((mount) => mount.mountpoint === mountpoint)?.pid ?? -1;
      const seen: number[] = [];
      while (seen.length < TRIES && (seen.at(-1) ?? QUIET_MS) > 1) seen.push(await stirred(pid));
      // 5 it would be if the loop looked around once a second.
      expect(seen.at(-1)).toBeLessThanOrEqual(1);
    });
  });
});
