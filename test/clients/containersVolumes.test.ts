/** Volumes of containers, and their networks. */
import { existsSync } from 'node:fs';
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { CONTAINER_PROGRAMS, type ContainerStore, containerStore } from './support/containers.js';
import { MOUNTS } from './support/union.js';

describe.skipIf(!has({ ...MOUNTS, programs: CONTAINER_PROGRAMS }))('volumes', () => {
  let s: ContainerStore;

  beforeAll(async () => {
    s = await containerStore();
  }, 120_000);

  afterAll(() => s.end(), 120_000);

  it('outlive their container, and are shared', async () => {
    await s.start('--rm', '-v', 'shared:/v', 'bb', 'sh', '-c', 'echo kept > /v/f');
    expect(await s.start('--rm', '-v', 'shared:/w', 'bb', 'cat', '/w/f')).toBe('kept');
    await s.start('-d', '--name', 'ann', '-v', 'shared:/v', 'bb', 'sleep', '100');
    await s.start('-d', '--name', 'bob', '--volumes-from', 'ann:ro', 'bb', 'sleep', '100');
    await s.ok('exec', 'ann', 'sh', '-c', 'echo seen > /v/f');
    expect(await s.ok('exec', 'bob', 'cat', '/v/f')).toBe('seen');
    expect((await s.run(['exec', 'bob', 'touch', '/v/g'])).stderr).toMatch(/Read-only/);
    expect(JSON.parse(await s.ok('inspect', '-f', '{{json .Mounts}}', 'ann'))).toEqual([
      {
        Type: 'volume',
        Name: 'shared',
        Source: `${s.root}/volumes/shared/_data`,
        Destination: '/v',
        Driver: 'local',
        Mode: '',
        RW: true,
        Propagation: '',
      },
    ]);
    const refused = await s.run(['volume', 'rm', 'shared']);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/volume is in use/)]);
    // It is no part of the union.
    expect(await s.ok('diff', 'ann')).toBe('');
    await s.ok('rm', '-f', 'ann', 'bob');
    expect(await s.ok('volume', 'ls', '-q')).toBe('shared');
    expect(await readFile(`${s.root}/volumes/shared/_data/f`, 'utf8')).toBe('seen\n');
  });

  it('are filled with what the image has there, once', async () => {
    await chown(`${s.dir}/rootfs/data`, 1000, 1000);
    await s.ok('import', '--change', 'ENV PATH=/bin', `${s.dir}/rootfs`, 'owned');
    await s.start('--rm', '-v', 'full:/data', 'owned', 'sh', '-c', 'rm /data/one; touch /data/two');
    const said = await s.start('--rm', '-v', 'full:/data', 'owned', 'ls', '-ln', '/', '/data');
    expect(said).toMatch(/1000 +1000 .* data\n/);
    expect(said).toMatch(/ two$/);
    expect(said).not.toContain(' one');
    expect(await s.start('--rm', '-v', 'empty:/data:nocopy', 'owned', 'ls', '/data')).toBe('');
  });

  it('without a name go with rm -v and --rm, and stay with rm', async () => {
    const anonymous = async () =>
      (await s.ok('volume', 'ls', '-q')).split('\n').filter((name) => name.length === 64);
    await s.start('--rm', '-v', '/anon', 'bb', 'touch', '/anon/f');
    expect(await anonymous()).toEqual([]);
    for (const flags of [[], ['-v']]) {
      await s.ok('create', '--name', 'anon', '-v', '/anon', 'bb');
      expect((await anonymous()).length).toBe(1);
      await s.ok('rm', ...flags, 'anon');
      expect((await anonymous()).length).toBe(flags.length === 0 ? 1 : 0);
      await s.ok('volume', 'prune', '-f');
    }
  });

  it('are host paths, tmpfs, and unions over shared data', async () => {
    await mkdir(`${s.dir}/host`);
    await writeFile(`${s.dir}/host/f`, 'host\n');
    const mount = `type=bind,source=${s.dir}/host,target=/h,readonly`;
    const script =
      'cat /h/f; touch /h/g 2>/dev/null || echo refused; mount | grep " /t " | cut -d" " -f1';
    expect(
      await s.start(
        '--rm',
        '--mount',
        mount,
        '--tmpfs',
        '/t:size=1m',
        'bb',
        'sh',
        '-c',
        script.replace('cut', 'busybox cut'),
      ),
    ).toBe('host\nrefused\ntmpfs');
    const missing = await s.run([
      'run',
      '--rm',
      '--network',
      'none',
      '--mount',
      'type=bind,source=/no/where,target=/h',
      'bb',
    ]);
    expect([missing.code, missing.stderr]).toEqual([
      125,
      expect.stringMatching(/does not exist: \/no\/where/),
    ]);
    await s.ok('volume', 'create', '-o', `lower=${s.dir}/host`, 'view');
    expect(
      await s.start('--rm', '-v', 'view:/u', 'bb', 'sh', '-c', 'echo own > /u/f; cat /u/f'),
    ).toBe('own');
    expect(await readFile(`${s.dir}/host/f`, 'utf8')).toBe('host\n');
    expect(await s.start('--rm', '-v', 'view:/u', 'bb', 'cat', '/u/f')).toBe('own');
    await s.ok('volume', 'rm', 'view');
    expect(existsSync(`${s.root}/volumes/view`)).toBe(false);
  });

  it('are exported and imported', async () => {
    await s.ok('volume', 'export', '-o', `${s.dir}/v.tar`, 'shared');
    await s.ok('volume', 'create', 'restored');
    await s.ok('volume', 'import', 'restored', `${s.dir}/v.tar`);
    expect(await s.start('--rm', '-v', 'restored:/v', 'bb', 'cat', '/v/f')).toBe('seen');
  });

  it.skipIf(!has({ programs: ['pasta'] }) && !has({ programs: ['slirp4netns'] }))(
    'publishes a port of a private network, and has none of this machine’s',
    async () => {
      const server = 'echo hello | nc -l -p 80';
      await s.ok(
        'run',
        '-d',
        '--name',
        'web',
        '-p',
        '127.0.0.1:18471:80',
        'bb',
        'sh',
        '-c',
        server,
      );
      expect(await s.ok('port', 'web')).toBe('80/tcp -> 127.0.0.1:18471');
      expect(await s.ok('ps', '--format', '{{.Ports}}')).toBe('127.0.0.1:18471->80/tcp');
      const said = await s.ok(
        'run',
        '--rm',
        '--network',
        'host',
        'bb',
        'nc',
        '-w',
        '5',
        '127.0.0.1',
        '18471',
      );
      expect(said).toBe('hello');
      await s.ok('rm', '-f', 'web');
    },
  );
});
