import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { expectNothingLeft } from './support/leftovers.js';
import { bash, run, type Finished, type RunOptions } from './support/run.js';
import { MOUNTS, withScratch } from './support/union.js';

const DEMO = join(import.meta.dirname, '../../dist/cli/demo.js');

function demo(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return run(process.execPath, [DEMO, ...args], { mayFail: true, ...options });
}

/** The lines of one chapter, without the indentation. */
function chapter(output: string, heading: string): string[] {
  const part = output.split('\n\n').find((text) => text.startsWith(heading)) ?? '';
  return part
    .split('\n')
    .slice(1)
    .map((line) => line.trim());
}

async function temporaries(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('stratafs-demo-'));
}

describe.skipIf(
  !has({ ...MOUNTS, programs: ['unshare', 'ldd', 'busybox'], mountNamespaces: true }),
)('npm start', () => {
  afterEach(async () => {
    for (const name of await temporaries()) await expectNothingLeft(join(tmpdir(), name));
    expect(await temporaries()).toEqual([]);
  });

  it('shows a union of three layers: origins, what is hidden, copied up and deleted, the diff', async () => {
    const { code, stdout, stderr } = await demo(['--layers']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const origins = chapter(stdout, 'Where things come from').map((line) => line.split(/ {2,}/));
    expect(origins).toContainEqual(['/bin/sh', 'base']);
    expect(origins).toContainEqual(['/etc', 'changes + config + base (merged)']);
    expect(origins).toContainEqual(['/etc/motd', 'config', 'over the one in base']);
    const hidden = chapter(stdout, 'What is hidden').join('\n');
    expect(hidden).toMatch(/legacy.conf +of base +by the whiteout \/etc\/legacy.conf in changes/);
    expect(hidden).toMatch(
      /HISTORY +of base +by the opaque directory \/usr\/share\/doc in changes/,
    );
    const inside = chapter(stdout, 'Inside: what the changes layer hides').join('\n');
    expect(inside).toContain('cat: /etc/legacy.conf: No such file or directory');
    expect(inside).not.toContain('HISTORY');
    const copied = chapter(stdout, 'What was copied up').join('\n');
    expect(copied).toMatch(/\/etc\/motd +from config +\d+ bytes/);
    expect(chapter(stdout, 'What was deleted').join('\n')).toMatch(/\/srv\/data\/two +of config/);
    expect(chapter(stdout, 'stratafs diff').sort()).toEqual(
      [
        ...['C /etc', 'C /etc/app.conf', 'C /etc/motd', 'C /srv', 'C /srv/data'],
        ...['D /srv/data/one', 'D /srv/data/two', 'A /srv/data/first'],
        ...['A /var', 'A /var/log', 'A /var/log/started'],
      ].sort(),
    );
    // Every step says how long it took.
    expect(stdout.match(/ [\d.]+ ms$/gm)?.length).toBeGreaterThanOrEqual(8);
  });

  it.skipIf(!has({ programs: ['runc', 'conmon'] }))(
    'tells the story of an image: containers, their changes, a volume',
    async () => {
      const { code, stdout, stderr } = await demo([]);
      expect([code, stderr]).toEqual([0, '']);
      expect(chapter(stdout, 'What it changed is in its own layer').slice(1)).toEqual([
        ...['C /etc', 'C /etc/motd', 'A /srv', 'A /srv/who'],
        ...['C /usr', 'C /usr/share', 'C /usr/share/doc', 'D /usr/share/doc/HISTORY'],
      ]);
      expect(chapter(stdout, 'The image is as it was').at(-1)).toMatch(/: ok$/);
      expect(chapter(stdout, 'A volume outlives its containers').at(-1)).toBe('kept');
    },
  );

  it('leaves a shell inside the given layers, and drops what it changed', async () => {
    await withScratch(async (dir) => {
      const [top, base] = [`${dir}/a,b:c`, `${dir}/base`];
      await mkdir(top);
      await bash(
        `mkdir -p base/bin base/proc base/dev; cp /bin/busybox base/bin/sh; echo low > base/f`,
        { cwd: dir },
      );
      await writeFile(`${top}/f`, 'top\n');
      const input = 'echo "pid $$"; read -r line < /f; echo "$line"; echo new > /g; exit 3\n';
      const { code, stdout, stderr } = await demo([top, base], { input });
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(stdout).toMatch(/\npid \d+\ntop\nWhat you changed:\nA \/g\n$/);
      expect(existsSync(`${base}/g`)).toBe(false);
    });
  });

  it('leaves a shell of this machine where the layers have none', async () => {
    await withScratch(async (dir) => {
      await writeFile(`${dir}/f`, '');
      const { code, stdout } = await demo([dir], { input: 'ls\n', env: { SHELL: '/bin/sh' } });
      expect(code).toBe(0);
      expect(stdout).toMatch(/\nf\nNothing was changed.\n$/);
    });
  });

  it('says in one sentence what is wrong and leaves nothing mounted', async () => {
    for (const args of [['/nowhere/at/all'], ['--what']]) {
      const { code, stdout, stderr } = await demo(args);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(/^stratafs: [^\n]*(\/nowhere\/at\/all|--what)[^\n]*\n$/);
    }
  });

  it('unmounts when it is told to end', async () => {
    await withScratch(async (dir) => {
      const child = spawn(process.execPath, [DEMO, dir], { stdio: 'pipe' });
      await once(child.stdout, 'data'); // it is mounted and the shell starts
      child.kill('SIGTERM');
      await once(child, 'close');
    });
  });
});
