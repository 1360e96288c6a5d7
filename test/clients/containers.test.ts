/**
 * What everybody reads about containers and their layers, one test each (issue 15), and the life of a
 * container.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has, stratafsBinary } from '../support/needs.js';
import {
  CONTAINER_PROGRAMS,
  type ContainerStore,
  containerStore,
  inTerminal,
} from './support/containers.js';
import { run } from './support/run.js';
import { MOUNTS } from './support/union.js';

const needed = { ...MOUNTS, programs: [...CONTAINER_PROGRAMS, 'script'] };

describe.skipIf(!has(needed))('containers', () => {
  let s: ContainerStore;

  beforeAll(async () => {
    s = await containerStore();
  }, 120_000);

  afterAll(() => s.end(), 120_000);

  const upperOf = (name: string) => s.ok('inspect', '-f', '{{.GraphDriver.Data.UpperDir}}', name);
  const background = (name: string, ...args: string[]) => s.start('-d', '--name', name, ...args);

  /** Until `act` answers `wanted`; the last answer. */
  async function eventually(act: () => Promise<string>, wanted: string): Promise<string> {
    let last = '';
    for (let tries = 0; tries < 200; tries++) {
      last = await act();
      if (last === wanted) break;
      await sleep(100);
    }
    return last;
  }

  describe('what they promise', () => {
    it('two containers do not see each other’s changes, and the image never changes', async () => {
      await background('one', 'bb', 'sleep', '100');
      await background('two', 'bb', 'sleep', '100');
      await s.ok('exec', 'one', 'sh', '-c', 'echo mine > /data/one; echo new > /new; rm /srv -r');
      expect(await s.ok('exec', 'two', 'cat', '/data/one')).toBe('one');
      expect(await s.ok('exec', 'two', 'ls', '/')).not.toContain('new');
      expect(await s.start('--rm', 'bb', 'cat', '/data/one')).toBe('one');
      expect(await s.ok('layer', 'verify')).toMatch(/: ok$/);
    });

    it('what a container writes is in its top layer alone', async () => {
      const upper = await upperOf('one');
      expect((await readdir(upper)).sort()).toEqual(['data', 'new', 'srv']);
      expect(await readFile(`${upper}/data/one`, 'utf8')).toBe('mine\n');
      expect(await s.ok('diff', 'one')).toBe('C /data\nC /data/one\nA /new\nD /srv');
      expect(await s.ok('diff', 'two')).toBe('');
      expect(await readdir(await upperOf('two'))).toEqual([]);
    });

    it('the top layer is kept by stop and start, and goes with rm', async () => {
      const upper = await upperOf('one');
      await s.ok('stop', '-t', '0', 'one');
      await s.ok('start', 'one');
      expect(await s.ok('exec', 'one', 'cat', '/data/one', '/new')).toBe('mine\nnew');
      expect((await s.run(['rm', 'one'])).stderr).toMatch(/is running/);
      await s.ok('rm', '-f', 'one', 'two');
      expect(existsSync(upper)).toBe(false);
      expect(await s.ok('ps', '-aq')).toBe('');
    });

    it('environment of the image and of the user survives a restart', async () => {
      await background('env', '-e', 'OWN=1', '-e', 'FROM_IMAGE=changed', 'bb', 'sleep', '100');
      const before = await s.ok('exec', 'env', 'env');
      await s.ok('restart', '-t', '0', 'env');
      expect(await s.ok('exec', 'env', 'env')).toBe(before);
      expect(before.split('\n')).toEqual(
        expect.arrayContaining(['OWN=1', 'FROM_IMAGE=changed', 'PATH=/bin', 'HOME=/root']),
      );
      await s.ok('rm', '-f', 'env');
    });

    it('/etc/hosts changed by hand is all that diff shows', async () => {
      await background(
        'hosts',
        '--hostname',
        'h',
        '--add-host',
        'db:10.0.0.9',
        'bb',
        'sleep',
        '100',
      );
      expect(await s.ok('diff', 'hosts')).toBe('');
      expect(await s.ok('exec', 'hosts', 'cat', '/etc/hosts')).toMatch(/10\.0\.0\.9\tdb/);
      expect(await s.ok('exec', 'hosts', 'cat', '/etc/hostname')).toBe('h');
      await s.ok('exec', 'hosts', 'sh', '-c', 'echo 10.0.0.1 other >> /etc/hosts');
      expect(await s.ok('diff', 'hosts')).toBe('C /etc\nC /etc/hosts');
      await s.ok('restart', '-t', '0', 'hosts');
      expect(await s.ok('exec', 'hosts', 'cat', '/etc/hosts')).toMatch(/10\.0\.0\.1 other$/);
      await s.ok('rm', '-f', 'hosts');
    });

    it('an image in use stays, and ps says when its name means another one', async () => {
      await background('old', 'bb', 'sleep', '100');
      const id = await s.ok('inspect', '-f', '{{.Image}}', 'old');
      await writeFile(`${s.dir}/rootfs/data/one`, 'newer\n');
      await s.ok('import', '--change', 'ENV PATH=/bin', `${s.dir}/rootfs`, 'bb');
      expect(await s.ok('ps', '--format', '{{.Image}} {{.Status}}')).toMatch(
        new RegExp(`^${id.slice(7, 19)} Up .* \\(image updated\\)$`),
      );
      await s.ok('gc');
      await s.ok('restart', '-t', '0', 'old');
      expect(await s.ok('exec', 'old', 'cat', '/data/one')).toBe('one');
      expect((await s.run(['rmi', id])).stderr).toMatch(/conflict/);
      await s.ok('tag', id, 'bb');
      await s.ok('rm', '-f', 'old');
    });
  });

  describe('how they run', () => {
    it('exits as the program does, with 125 to 127 where there was none', async () => {
      const status = async (...args: string[]) =>
        (await s.run(['run', '--rm', '--network', 'none', ...args])).code;
      expect(await status('bb', 'sh', '-c', 'exit 7')).toBe(7);
      expect(await status('bb', '/nowhere')).toBe(127);
      expect(await status('bb', '/etc/passwd')).toBe(126);
      expect(await status('--memory', '1k', 'bb', 'true')).toBe(125);
      expect(await status('--no-such-flag', 'bb')).toBe(125);
      expect(await s.ok('ps', '-aq')).toBe('');
    });

    it('has stdin, stdout, stderr, and its log', async () => {
      const { stdout, stderr, code } = await s.run(
        [
          'run',
          '-i',
          '--name',
          'io',
          '--network',
          'none',
          'bb',
          'sh',
          '-c',
          'cat; echo bad >&2; printf end',
        ],
        { input: 'from stdin\n' },
      );
      expect([code, stdout, stderr]).toEqual([0, 'from stdin\nend', 'bad\n']);
      const log = await s.run(['logs', 'io']);
      expect([log.stdout, log.stderr]).toEqual(['from stdin\nend', 'bad\n']);
      expect(await s.ok('logs', '--tail', '1', 'io')).toBe('end');
      await s.ok('rm', 'io');
    });

    it('follows a log until its end', async () => {
      await background('talks', 'bb', 'sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.2; done');
      expect(await s.ok('logs', '-f', 'talks')).toBe('1\n2\n3');
      expect(await s.ok('wait', 'talks')).toBe('0');
      await s.ok('rm', 'talks');
    });

    it('has a real terminal, and is left by its keys', async () => {
      const S = `${stratafsBinary()} run --network none`;
      const shown = await inTerminal(
        s,
        `stty rows 33 cols 77; ${S} --rm -it bb sh -c 'tty; stty size'`,
        run,
      );
      // script(1) can echo the end of its own input as ^@ before the terminal is raw.
      const said = shown.stdout.replaceAll('\r', '').replace(/^\^@/, '');
      expect([shown.code, said]).toEqual([0, '/dev/pts/0\n33 77\n']);
      const keys = await inTerminal(
        s,
        `(sleep 2; printf '\\020\\021') | script -qec '${S} -it --name left bb sleep 100' /dev/null`,
        run,
      );
      expect(keys.code, keys.stdout).toBe(0);
      expect(await s.ok('ps', '--format', '{{.Names}}')).toBe('left');
      await s.ok('rm', '-f', 'left');
    });

    it('as which user, with which rights', async () => {
      const script =
        'id; grep -e CapEff -e Seccomp: /proc/self/status; touch /x 2>&1; touch /run2/y && echo ok';
      const said = await s.start(
        ...[
          '--rm',
          '--user',
          'u',
          '--read-only',
          '--tmpfs',
          '/run2:mode=1777',
          '--cap-drop',
          'all',
        ],
        ...['bb', 'sh', '-c', script],
      );
      expect(said).toContain('uid=1000(u) gid=1000 groups=1000,1001(g)');
      expect(said).toMatch(/CapEff:\t0{16}\nSeccomp:\t2\ntouch: .*Read-only file system\nok$/);
      const root = await s.start(
        '--rm',
        '--cap-add',
        'NET_ADMIN',
        'bb',
        'grep',
        'CapEff',
        '/proc/self/status',
      );
      expect(root).toBe('CapEff:\t00000000a80435fb');
    });

    it('ends with a sentence where conmon cannot be run, and leaves nothing', async () => {
      const broken = `${s.dir}/broken`;
      await mkdir(broken);
      await writeFile(`${broken}/conmon`, '#!/nonexistent\n', { mode: 0o755 });
      const before = await s.ok('ps', '-aq');
      const args = [`PATH=${broken}:${process.env['PATH'] ?? ''}`, `STRATAFS_ROOT=${s.root}`];
      const asked = ['run', '--network', 'none', '--rm', 'bb', 'true'];
      const ran = await run('env', [...args, stratafsBinary(), ...asked], { mayFail: true });
      expect(ran.stderr).toMatch(/cannot run \S*conmon: [^\n]+\n$/);
      expect(ran.code).toBeGreaterThan(0);
      expect(await s.ok('ps', '-aq')).toBe(before);
    });

    it('has an init where it is asked for', async () => {
      const said = await s.start('--rm', '--init', 'bb', 'cat', '/proc/1/comm', '/proc/self/stat');
      expect(said).toMatch(/^init\n/);
    });

    it('keeps to its limits', async () => {
      const eat =
        'x=$(dd if=/dev/zero bs=1M count=200 2>/dev/null | busybox tr "\\0" x); echo survived';
      await s.run([
        'run',
        '--name',
        'eats',
        '--network',
        'none',
        '-m',
        '20m',
        'bb',
        'sh',
        '-c',
        eat,
      ]);
      expect(
        await s.ok('inspect', '-f', '{{.State.OOMKilled}} {{.HostConfig.Memory}}', 'eats'),
      ).toBe(`true ${20 * 2 ** 20}`);
      await s.ok('rm', 'eats');
      const forks = await s.run([
        'run',
        '--rm',
        '--network',
        'none',
        '--pids-limit',
        '3',
        'bb',
        'sh',
        '-c',
        'sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait',
      ]);
      expect(forks.stderr).toMatch(/can't fork/);
    });

    it('is started again as its policy says', async () => {
      await background(
        'fails',
        '--restart',
        'on-failure:2',
        'bb',
        'sh',
        '-c',
        'echo x >> /tries; exit 3',
      );
      const state = () =>
        s.ok('inspect', '-f', '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}', 'fails');
      expect(await eventually(state, '2 exited 3')).toBe('2 exited 3');
      expect(await readFile(`${await upperOf('fails')}/tries`, 'utf8')).toBe('x\nx\nx\n');
      await s.ok('rm', 'fails');
    });

    it('is frozen, shown, changed and killed', async () => {
      await background('life', 'bb', 'sleep', '100');
      await s.ok('pause', 'life');
      expect(await s.ok('ps', '--format', '{{.State}} {{.Status}}')).toMatch(
        /^paused Up .*\(Paused\)$/,
      );
      expect((await s.run(['exec', 'life', 'true'])).stderr).toMatch(/is paused/);
      await s.ok('unpause', 'life');
      expect(await s.ok('top', 'life')).toMatch(/PID[^\n]*\n[^\n]*sleep 100$/);
      expect(await s.ok('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', 'life')).toBe(
        'life 1',
      );
      await s.ok('update', '--memory', '64m', 'life');
      expect(
        await s.ok(
          'exec',
          'life',
          'sh',
          '-c',
          'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true',
        ),
      ).toBe(String(64 * 2 ** 20));
      await s.ok('rename', 'life', 'death');
      await s.ok('kill', 'death');
      expect(await s.ok('ps', '-a', '--format', '{{.Names}} {{.Status}}')).toMatch(
        /^death Exited \(137\)/,
      );
      await s.ok('container', 'prune', '-f');
    });

    it('is copied into and out of, never beyond its root', async () => {
      await background('copies', 'bb', 'sh', '-c', 'ln -s /../../../../etc /srv/out; sleep 100');
      await writeFile(`${s.dir}/file`, 'content\n');
      await s.ok('cp', `${s.dir}/file`, 'copies:/srv/out/copied');
      expect(await s.ok('exec', 'copies', 'cat', '/etc/copied')).toBe('content');
      expect(existsSync('/etc/copied')).toBe(false);
      await s.ok('cp', 'copies:/data', `${s.dir}/data`);
      expect(await readFile(`${s.dir}/data/one`, 'utf8')).toBe('one\n');
      await s.ok('stop', '-t', '0', 'copies');
      await s.ok('cp', 'copies:/etc/copied', `${s.dir}/again`);
      expect(await readFile(`${s.dir}/again`, 'utf8')).toBe('content\n');
      await s.ok('export', '-o', `${s.dir}/out.tar`, 'copies');
      const { stdout } = await run('tar', ['-tf', `${s.dir}/out.tar`]);
      expect(stdout.split('\n')).toEqual(
        expect.arrayContaining(['etc/copied', 'bin/busybox', 'srv/out']),
      );
      await s.ok('rm', 'copies');
    });
  });

  describe('what a kill leaves', () => {
    it('the container outlives the command that started it, and is cleaned up after', async () => {
      const command = `${stratafsBinary()} run --rm --name lives --network none bb sh -c 'sleep 2; exit 4' & p=$!
for i in $(seq 100); do [ "$(${stratafsBinary()} ps -q)" ] && break; sleep 0.1; done; kill -9 $p; ${stratafsBinary()} ps --format '{{.Names}}'; ${stratafsBinary()} wait lives`;
      const { stdout } = await run('bash', ['-c', command], { env: s.env });
      expect(stdout).toBe('lives\n4\n');
      expect(await eventually(() => s.ok('ps', '-aq'), '')).toBe('');
    });

    it('one whose monitor and process were killed has ended, and starts again', async () => {
      await background('lost', 'bb', 'sleep', '100');
      const [pid, bundle] = (
        await s.ok('inspect', '-f', '{{.State.Pid}} {{.BundlePath}}', 'lost')
      ).split(' ');
      const monitor = await readFile(`${bundle}/conmon.pid`, 'utf8');
      process.kill(Number(monitor), 'SIGKILL');
      process.kill(Number(pid), 'SIGKILL');
      const status = () => s.ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'lost');
      expect(await eventually(status, 'exited 255')).toBe('exited 255');
      await s.ok('start', 'lost');
      expect(await s.ok('exec', 'lost', 'echo', 'back')).toBe('back');
      await s.ok('rm', '-f', 'lost');
    });
  });
});
