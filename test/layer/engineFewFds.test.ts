/** A server with hardly any descriptors left serves on, or says EMFILE; it never ends and never leaks. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { abortConnection } from '../support/abort.js';
import { Client } from '../support/client.js';
import { mountDevice } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, run } from '../support/run.js';
import { build, dir, file } from '../support/tree.js';

const DIRS = 80;
const O_RDWR = 2;

let top = '';
let server: ChildProcess | undefined;
let stderr = '';
afterEach(async () => {
  const mnt = join(top, 'mnt');
  const device = mountDevice(mnt);
  if (device !== undefined) {
    abortConnection(device);
    await run('umount', ['-l', mnt]);
  }
  if (server?.exitCode === null) server.kill('SIGKILL');
  rmSync(top, { recursive: true, force: true });
});

async function serve(): Promise<number> {
  top = mkdtempSync(join(tmpdir(), 'stratafs-few-'));
  const [lower, upper, work, mnt] = ['lower', 'upper', 'work', 'mnt'].map((name) => {
    mkdirSync(join(top, name));
    return join(top, name);
  });
  const numbers = Array.from({ length: DIRS }, (_, i) => i);
  await build(
    lower,
    numbers.flatMap((i) => [dir(`d${i}`), dir(`d${i}/e`), file(`d${i}/e/f`, `content ${i}`)]),
  );
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  const args = ['--foreground', '-o', options, mnt];
  const child = spawn(stratafsBinary(), args, { stdio: ['ignore', 'ignore', 'pipe'] });
  server = child;
  stderr = '';
  child.stderr.setEncoding('latin1').on('data', (text: string) => (stderr += text));
  for (let i = 0; i < 200 && mountDevice(mnt) === undefined; i++) await sleep(50);
  if (child.pid === undefined || mountDevice(mnt) === undefined)
    throw new Error(`the server did not mount: ${stderr}`);
  return child.pid;
}

/** Leaves a server that is done with starting so many descriptors more than it has; returns its limit. */
async function squeeze(pid: number, left: number): Promise<number> {
  let count = -1;
  for (let same = 0; same < 8; same = descriptors(pid) === count ? same + 1 : 0) {
    count = descriptors(pid);
    await sleep(100);
  }
  const limit = count + left;
  await mustRun('prlimit', ['--pid', String(pid), `--nofile=${limit}:`]);
  return limit;
}

const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** Work that makes the server want descriptors; each answer, with the content where it is read. */
async function work(client: Client, round: number): Promise<string[]> {
  const answers: string[] = [];
  for (let i = 0; i < DIRS; i++) {
    const path = `d${i}/e/f`;
    const opened = await client.errno('open', 0, path, O_RDWR, 0);
    answers.push(opened);
    if (opened === 'ok') {
      const read = await client.call('read', 0, 0, 100);
      answers.push(read.errno ?? 'ok');
      if (read.errno === undefined) expect(read.words.join(' ')).toContain('content');
      answers.push(await client.errno('write', 0, 8 + String(i).length, `round${round}`));
      answers.push(await client.errno('fsync', 0));
      // Where what was written could not be written back.
      answers.push(await client.errno('close', 0));
    }
    answers.push(await client.errno('mkdir', `d${i}/new${round}`, 0o755));
    answers.push(await client.errno('rename', `d${i}/new${round}`, `d${(i + 7) % DIRS}/r${round}`));
    answers.push(await client.errno('readdir', `d${i}/e`));
    answers.push(await client.errno('rmdir', `d${(i + 7) % DIRS}/r${round}`));
  }
  return answers;
}

/** Ends the mount; the server must have got to its end without a complaint. */
async function end(): Promise<void> {
  const mnt = join(top, 'mnt');
  const device = mountDevice(mnt);
  const ended = new Promise<number | null>((resolve) => server?.once('exit', resolve));
  expect((await run('umount', [mnt])).stderr).toBe('');
  const first = await Promise.race([ended, sleep(3000).then(() => undefined)]);
  // A mount namespace made meanwhile, by whatever else runs here, has a copy of the mount.
  if (first === undefined && device !== undefined) abortConnection(device);
  expect(await Promise.race([ended, sleep(10_000).then(() => 'still there')])).toBe(0);
  expect(stderr).not.toMatch(/Error|died|failed/);
}

const NEEDS = { root: true, fuse: true, stratafs: true, programs: ['gcc', 'prlimit'] };

describe.skipIf(!has(NEEDS))('a server with few descriptors left', () => {
  it.each([
    { left: 12, allowed: ['ok', 'EMFILE', 'ENOENT'] },
    { left: 40, allowed: ['ok'] },
  ])('($left) answers $allowed, and all once it has more', async ({ left, allowed }) => {
    const pid = await serve();
    const limit = await squeeze(pid, left);
    const client = await Client.start(join(top, 'mnt'), () => server?.kill('SIGKILL'));
    try {
      for (let round = 0; round < 3; round++) {
        // ENOENT: what could not be made cannot be renamed.
        const others = (await work(client, round)).filter((answer) => !allowed.includes(answer));
        expect(others).toEqual([]);
        expect(server?.exitCode).toBeNull();
      }
      await mustRun('prlimit', ['--pid', String(pid), '--nofile=1024:']);
      expect((await work(client, 3)).filter((answer) => answer !== 'ok')).toEqual([]);
      // The kernel gives its inodes back, and so does the server their descriptors.
      await client.must('forget');
      await sleep(300);
      expect(await client.errno('stat', 'd0/e/f')).toBe('ok');
      expect(descriptors(pid)).toBeLessThan(limit);
    } finally {
      await client.close();
    }
    await end();
  });
});
