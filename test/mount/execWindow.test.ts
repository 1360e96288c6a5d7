/**
 * While an execve reads its program, and closes its close-on-exec files, with what is dirty in them
 * written back there and then, it holds locks that a reader of /proc/PID/stat waits for
 * (do_task_stat in 6.18): who serves these requests must not ask /proc about their client.
 */
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { withFollowing } from '../support/follow.js';
import { has } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';

/** 200 processes, each asking often enough to be followed before its execve of a cold program. */
const CLIENTS = `
import os, sys
for i in range(200):
    child = os.fork()
    if child == 0:
        for k in range(120):
            os.close(os.open(f"f{i}.{k % 8}", os.O_CREAT | os.O_WRONLY))
        fd = os.open(f"dirty{i}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"x" * 300000)
        os.execv(f"./bin/true{i}", ["true"])
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(1)
print(sum(os.stat(f"dirty{i}").st_size for i in range(200)))
`;

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, programs: ['python3'] }))(
  'a client that writes back in its execve',
  () => {
    const root = scratch('exec-window');
    afterAll(() => rmSync(root, { recursive: true, force: true }));

    it.each(['writeback=1', 'writeback=0'])('is served with %s', async (option) => {
      const [low, upper, work, mountpoint] = ['low', 'up', 'work', 'mnt'].map((each) => {
        const path = join(root, option, each);
        mkdirSync(path, { recursive: true });
        return path;
      }) as [string, string, string, string];
      mkdirSync(join(low, 'bin'));
      for (let i = 0; i < 200; i++) copyFileSync('/bin/true', join(low, 'bin', `true${i}`));
      await withFollowing(
        { lowers: [low], upper, work },
        mountpoint,
        async () => {
          const { stdout } = await mustRun('python3', ['-c', CLIENTS], { cwd: mountpoint });
          expect(stdout.trim()).toBe(String(200 * 300_000));
        },
        [option],
      );
    });
  },
);
