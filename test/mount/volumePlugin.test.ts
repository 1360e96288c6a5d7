/** The volume plug-in over its socket; Docker itself drives it in test/clients. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

describe.skipIf(
  !has({
    root: true,
    fuse: true,
    stratafs: true,
    loop: true,
    programs: ['mkfs.ext4', 'systemd-socket-activate'],
  }),
)('the volume plug-in', () => {
  let base: string;
  let data: string;
  let socket: string;
  let child: ChildProcess;

  const start = async (): Promise<void> => {
    const args = ['volume-plugin', '--root', join(base, 'store'), '--address', socket];
    child = spawn(stratafsBinary(), args, { stdio: ['ignore', 'ignore', 'pipe'] });
    await said('listening at');
  };

  /** As systemd does it with the unit: it listens, and starts the plug-in with the first request. */
  const activate = async (): Promise<void> => {
    const args = ['-l', socket, stratafsBinary(), 'volume-plugin', '--root', join(base, 'store')];
    child = spawn('systemd-socket-activate', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    await said('Listening on');
  };

  const said = async (word: string): Promise<void> => {
    let text = '';
    child.stderr?.setEncoding('utf8').on('data', (part: string) => (text += part));
    for (let tries = 0; !text.includes(word); tries++) {
      if (tries > 600 || child.exitCode !== null) throw new Error(`it did not start: ${text}`);
      await sleep(20);
    }
  };

  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  };

  beforeEach(async () => {
    base = scratch('volumes');
    [data, socket] = [join(base, 'data'), join(base, 'p.sock')];
    mkdirSync(data);
    writeFileSync(join(data, 'a'), 'shared');
    await start();
  });

  afterEach(async () => {
    if (child.exitCode === null && child.signalCode === null) await end('SIGKILL');
    for (const place of mountsBelow(base)) await run('umount', ['-l', place]);
    rmSync(base, { recursive: true, force: true });
  });

  const post = (path: string, body: object | string): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const message = request({ socketPath: socket, path, method: 'POST' }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => {
          const parsed = JSON.parse(text) as Record<string, unknown>;
          resolve({ status: response.statusCode ?? 0, body: parsed });
        });
      });
      message.on('error', reject);
      message.end(typeof body === 'string' ? body : JSON.stringify(body));
    });

  const call = async (name: string, body: object = {}): Promise<Record<string, unknown>> => {
    const answer = await post(`/VolumeDriver.${name}`, body);
    expect(answer).toMatchObject({ status: 200, body: { Err: '' } });
    return answer.body;
  };
  const refusal = async (name: string, body: object): Promise<unknown> => {
    const answer = await post(`/VolumeDriver.${name}`, body);
    expect(answer.status).toBe(500);
    return answer.body['Err'];
  };

  it('speaks the protocol', async () => {
    expect((await post('/Plugin.Activate', '')).body).toEqual({
      Implements: ['VolumeDriver'],
      Err: '',
    });
    expect(await call('Capabilities')).toMatchObject({ Capabilities: { Scope: 'local' } });
    expect((await post('/Nothing', {})).status).toBe(404);
    expect((await post('/VolumeDriver.Get', '{')).body).toEqual({ Err: 'the request is no JSON' });
    expect(await refusal('Create', { Name: 'v', Opts: {} })).toMatch(/needs -o lower=DIR/);
    expect(await refusal('Create', { Name: '../v', Opts: { lower: data } })).toMatch(/no name/);
    expect(await refusal('Get', { Name: 'nothing' })).toBe('no such volume: nothing');
    expect(await refusal('Mount', { Name: 'nothing', ID: '1' })).toBe('no such volume: nothing');
  });

  it('is started by the first request to the socket of its unit', async () => {
    await end('SIGTERM');
    await activate();
    expect(await call('Create', { Name: 'one', Opts: { lower: data } })).toMatchObject({ Err: '' });
    const place = String((await call('Mount', { Name: 'one', ID: 'c1' }))['Mountpoint']);
    expect(readFileSync(join(place, 'a'), 'utf8')).toBe('shared');
    await call('Unmount', { Name: 'one', ID: 'c1' });
  });

  it('gives each volume its own changes over the same data', async () => {
    for (const name of ['one', 'two']) await call('Create', { Name: name, Opts: { lower: data } });
    const places: string[] = [];
    for (const name of ['one', 'two']) {
      places.push(String((await call('Mount', { Name: name, ID: 'c1' }))['Mountpoint']));
    }
    expect(readFileSync(join(places[0], 'a'), 'utf8')).toBe('shared');
    writeFileSync(join(places[0], 'a'), 'mine');
    expect(readFileSync(join(places[1], 'a'), 'utf8')).toBe('shared');
    expect(readFileSync(join(data, 'a'), 'utf8')).toBe('shared');
    const { Volumes: volumes } = await call('List');
    expect(volumes).toMatchObject([
      { Name: 'one', Mountpoint: places[0] },
      { Name: 'two', Mountpoint: places[1] },
    ]);
    await call('Unmount', { Name: 'one', ID: 'c1' });
    expect(await call('Path', { Name: 'one' })).toMatchObject({ Mountpoint: '' });
    await call('Mount', { Name: 'one', ID: 'c2' });
    expect(readFileSync(join(places[0], 'a'), 'utf8')).toBe('mine');
    expect(await call('Get', { Name: 'one' })).toMatchObject({
      Volume: { Mountpoint: places[0], Status: { lower: data } },
    });
  });

  it('counts who uses a volume, also over its own death', async () => {
    await call('Create', { Name: 'one', Opts: { lower: data } });
    const place = String((await call('Mount', { Name: 'one', ID: 'c1' }))['Mountpoint']);
    await call('Mount', { Name: 'one', ID: 'c2' });
    writeFileSync(join(place, 'b'), '2');
    await end('SIGKILL');
    await start();
    expect(readFileSync(join(place, 'b'), 'utf8')).toBe('2');
    await call('Unmount', { Name: 'one', ID: 'c1' });
    expect(readFileSync(join(place, 'b'), 'utf8')).toBe('2');
    expect(await refusal('Remove', { Name: 'one' })).toBe('volume one is in use by 1 container');
    // Docker may say it twice.
    await call('Unmount', { Name: 'one', ID: 'c1' });
    await call('Unmount', { Name: 'one', ID: 'c2' });
    expect(mountsBelow(base)).toEqual([]);
    await call('Remove', { Name: 'one' });
    expect(readdirSync(join(base, 'store/volumes'))).toEqual([]);
    expect(readdirSync(join(base, 'store/trash'))).toEqual([]);
    expect(existsSync(join(data, 'b'))).toBe(false);
  });

  it('creates a volume once, and refuses another of its name', async () => {
    await call('Create', { Name: 'one', Opts: { lower: data } });
    await call('Create', { Name: 'one', Opts: { lower: data } });
    expect(await refusal('Create', { Name: 'one', Opts: { lower: `${data}:${base}` } })).toMatch(
      /exists, with other options/,
    );
    expect(readdirSync(join(base, 'store/leases'))).toEqual([]);
  });

  it('keeps the changes of a volume within its size', async () => {
    await call('Create', { Name: 'small', Opts: { lower: data, size: '32M' } });
    const place = String((await call('Mount', { Name: 'small', ID: 'c1' }))['Mountpoint']);
    const { blocks, bsize } = statfsSync(place);
    expect(blocks * bsize).toBeLessThan(32 << 20);
    const full = await run('dd', [
      'if=/dev/zero',
      `of=${join(place, 'big')}`,
      'bs=1M',
      'count=40',
      'conv=fsync',
    ]);
    expect(full.code).not.toBe(0);
    expect(full.stderr).toContain('No space left on device');
    rmSync(join(place, 'big'));
    writeFileSync(join(place, 'a'), 'mine');
    await call('Unmount', { Name: 'small', ID: 'c1' });
    expect(mountsBelow(base)).toEqual([]);
    await call('Mount', { Name: 'small', ID: 'c2' });
    expect(readFileSync(join(place, 'a'), 'utf8')).toBe('mine');
    await call('Unmount', { Name: 'small', ID: 'c2' });
    await call('Remove', { Name: 'small' });
    const left = await mustRun('losetup', ['-a']);
    expect(left.stdout).not.toContain(base);
  });
});
