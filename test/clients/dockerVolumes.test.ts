/** `docker volume create -d stratafs`: the volume plug-in with a real Docker. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { Docker } from './support/docker.js';
import { expectNothingLeft } from './support/leftovers.js';
import { busyboxTree } from './support/ociImage.js';
import { bash } from './support/run.js';
import { MOUNTS, STRATAFS, unmountBelow } from './support/union.js';

const PROGRAMS = ['dockerd', 'docker', 'containerd', 'runc', 'busybox', 'mkfs.ext4'];
/** Where Docker looks for plug-ins; the name is that of the driver. */
const DRIVER = `stratafs-${process.pid}`;
const SOCKET = `/run/docker/plugins/${DRIVER}.sock`;

describe.skipIf(!has({ ...MOUNTS, kernelOverlay: true, loop: true, programs: PROGRAMS }))(
  'Docker with the volume plug-in',
  () => {
    let dir: string;
    let data: string;
    let docker: Docker;
    let plugin: ChildProcess;

    const startPlugin = async (): Promise<void> => {
      const args = ['volume-plugin', '--root', `${dir}/store`, '--address', SOCKET];
      plugin = spawn(STRATAFS, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      plugin.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
      for (let tries = 0; !said.includes('listening at'); tries++) {
        if (tries > 1200 || plugin.exitCode !== null) throw new Error(`no plug-in: ${said}`);
        await sleep(50);
      }
    };

    const endPlugin = async (signal: NodeJS.Signals): Promise<void> => {
      const exit = once(plugin, 'exit');
      plugin.kill(signal);
      await exit;
    };

    beforeAll(async () => {
      dir = await mkdtemp('/var/tmp/stratafs-clients-');
      data = `${dir}/base`;
      mkdirSync(data);
      writeFileSync(`${data}/set`, 'shared\n');
      await startPlugin();
      docker = await Docker.start(`${dir}/docker`, { storageDriver: 'overlay2' });
      await busyboxTree(`${dir}/busybox`);
      await bash(`tar -C ${dir}/busybox -c . | docker import - small:1`, {
        env: { DOCKER_HOST: `unix://${dir}/docker/d.sock` },
      });
    });

    afterAll(async () => {
      try {
        await docker.stop();
        await endPlugin('SIGTERM');
        await unmountBelow(dir);
        await expectNothingLeft(dir);
      } finally {
        await unmountBelow(dir);
        await rm(dir, { recursive: true, force: true });
        await rm(SOCKET, { force: true });
      }
    });

    const create = (name: string, ...options: string[]) =>
      docker.text('volume', 'create', '-d', DRIVER, ...options.flatMap((one) => ['-o', one]), name);
    const sh = (volume: string, script: string, ...flags: string[]) =>
      docker.text(
        'run',
        '--rm',
        '--network',
        'none',
        '-v',
        `${volume}:/data`,
        ...flags,
        'small:1',
        '/bin/sh',
        '-c',
        script,
      );

    it('gives containers private unions over shared data', async () => {
      expect(await create('one', `lower=${data}`)).toBe('one');
      await create('two', `lower=${data}`);
      expect(await sh('one', 'echo mine > /data/set; echo x > /data/new; ls /data')).toBe(
        'new\nset',
      );
      expect(await sh('two', 'cat /data/set; ls /data')).toBe('shared\nset');
      expect(await sh('one', 'cat /data/set /data/new')).toBe('mine\nx');
      expect(readFileSync(`${data}/set`, 'utf8')).toBe('shared\n');
      const listed = await docker.text('volume', 'ls', '--format', '{{.Driver}} {{.Name}}');
      expect(listed.split('\n').sort()).toEqual([`${DRIVER} one`, `${DRIVER} two`]);
      const inspected = await docker.text(
        'volume',
        'inspect',
        'one',
        '--format',
        '{{json .Status}}',
      );
      expect(JSON.parse(inspected)).toEqual({ lower: data });
    });

    it('keeps a volume mounted as long as a container uses it, whoever is killed', async () => {
      const id = await docker.text(
        'run',
        '-d',
        '--network',
        'none',
        '-v',
        'one:/data',
        'small:1',
        '/bin/sleep',
        '1000',
      );
      expect(await sh('one', 'echo more >> /data/new')).toBe('');
      expect(await docker.text('exec', id, 'cat', '/data/new')).toBe('x\nmore');
      await endPlugin('SIGKILL');
      expect(await docker.text('exec', id, 'sh', '-c', 'echo y >> /data/new; cat /data/new')).toBe(
        'x\nmore\ny',
      );
      await startPlugin();
      const refused = await docker.cli(['volume', 'rm', 'one'], { mayFail: true });
      expect(refused.stderr).toContain('in use');
      await docker.text('rm', '-f', id);
      expect(await sh('one', 'cat /data/new')).toBe('x\nmore\ny');
    });

    it('keeps a volume within its size', async () => {
      await create('small', `lower=${data}`, 'size=20M');
      const said = await sh('small', 'dd if=/dev/zero of=/data/big bs=1M count=40 2>&1; ls /data');
      expect(said).toContain('No space left on device');
    });

    it('says what is wrong with an option', async () => {
      const failed = async (...args: string[]): Promise<string> =>
        (await docker.cli(['volume', 'create', '-d', DRIVER, ...args], { mayFail: true })).stderr;
      expect(await failed('bad')).toContain('needs -o lower=DIR');
      expect(await failed('-o', 'lower=/nothing/here', 'bad')).toContain('is not a directory');
      expect(await failed('-o', `lower=${data}`, '-o', 'size=x', 'bad')).toContain('is no size');
    });

    it('removes volumes, and the changes with them', async () => {
      await docker.text('volume', 'rm', 'one', 'two', 'small');
      expect(await docker.text('volume', 'ls', '-q')).toBe('');
      expect(existsSync(`${dir}/store/volumes/one`)).toBe(false);
      expect(readFileSync(`${data}/set`, 'utf8')).toBe('shared\n');
    });
  },
);
