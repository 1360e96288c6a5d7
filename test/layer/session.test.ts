/**
 * The session's loop under a real kernel: a raw server in a child process (support/rawServer.mjs),
 * and file access only from further processes, so that a hang here hangs nobody but them.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { BUCKETS, ELAPSED, HISTOGRAMS, SIZE as SIZE_OF_TALLY } from '../../src/sys/tally.js';
import { abortConnection } from '../support/abort.js';
import { mountDevice } from '../support/mount.js';

const ADDON = fileURLToPath(new URL('../../build/Release/stratafs_native.node', import.meta.url));
const SERVER = fileURLToPath(new URL('../support/rawServer.mjs', import.meta.url));
const root = process.getuid?.() === 0;
const SIZE = 3 * 2 ** 20 + 17;
const READ = 15;
const WRITE = 16;

interface Ended {
  ended: string;
  readError: number;
  sendError: number;
  counters: number[];
  engineWrites: number;
  kills: number;
  wakes: number;
}

/** A server with `count` mounts below a directory of its own. */
class Raw {
  readonly dir = mkdtempSync(join(tmpdir(), 'stratafs-session-'));
  readonly mountpoints: string[];
  readonly content = randomBytes(SIZE);
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(count: number, wakeEveryMs = 0) {
    const mounts = Array.from({ length: count }, (_, i) => {
      const mountpoint = join(this.dir, `mnt${i}`);
      const data = join(this.dir, `data${i}`);
      mkdirSync(mountpoint);
      writeFileSync(data, this.content);
      return { mountpoint, data, size: SIZE };
    });
    this.mountpoints = mounts.map(({ mountpoint }) => mountpoint);
    const config = JSON.stringify({ addon: ADDON, mounts, wakeEveryMs });
    this.#child = spawn('node', [SERVER, config], { stdio: ['ignore', 'pipe', 'inherit'] });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('the server has no stdout');
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  async line<T>(): Promise<T> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error('the server has ended without a word');
    return JSON.parse(next.value) as T;
  }

  umount(index = 0): Promise<Ended> {
    execFileSync('umount', [this.mountpoints[index]], { timeout: 10_000 });
    return this.line<Ended>();
  }

  abort(index = 0): void {
    const device = mountDevice(this.mountpoints[index]);
    if (device !== undefined) abortConnection(device);
  }

  async close(): Promise<void> {
    for (const [index, mountpoint] of this.mountpoints.entries()) {
      this.abort(index);
      if (mountDevice(mountpoint) !== undefined) execFileSync('umount', ['-l', mountpoint]);
    }
    if (this.#child.exitCode === null) {
      const gone = new Promise((resolve) => this.#child.once('exit', resolve));
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
      await gone;
      clearTimeout(timer);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

interface Ran {
  code: number;
  stdout: Buffer;
  stderr: string;
}

function run(file: string, args: string[], timeout = 20_000): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { timeout, encoding: 'buffer', maxBuffer: 2 ** 24 } as const;
    execFile(file, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr: stderr.toString('latin1') });
    });
  });
}

describe.runIf(root)('the session', () => {
  let raw: Raw;
  async function serve(count = 1, wakeEveryMs = 0): Promise<string> {
    raw = new Raw(count, wakeEveryMs);
    expect(await raw.line()).toEqual({ serving: true });
    return raw.mountpoints[0];
  }
  afterEach(() => raw.close());

  it('answers READ of a node with a backing descriptor itself, to the last byte', async () => {
    const mnt = await serve();
    const { stdout } = await run('cat', [join(mnt, 'data')]);
    expect(stdout.equals(raw.content)).toBe(true);
    const ended = await raw.umount();
    expect(ended.counters[0]).toBe(SIZE);
    expect(ended.counters[READ]).toBeGreaterThan(2);
    expect(ended).toMatchObject({ readError: 0, sendError: 0 });
  });

  it('hands READ of other nodes to the engine', async () => {
    const mnt = await serve();
    const { stdout } = await run('cat', [join(mnt, 'engine')]);
    expect(stdout.length).toBe(300_000);
    expect(stdout.every((byte, index) => byte === index % 251)).toBe(true);
    expect((await raw.umount()).counters[0]).toBe(0);
  });

  it('measures each request once, whoever answers it', async () => {
    const mnt = await serve();
    for (const file of ['data', 'engine']) await run('cat', [join(mnt, file)]);
    const { counters } = await raw.umount();
    expect(counters.length).toBe(SIZE_OF_TALLY);
    for (let opcode = 1; opcode < 63; opcode++) {
      const from = HISTOGRAMS + opcode * BUCKETS;
      const timed = counters.slice(from, from + BUCKETS).reduce((sum, count) => sum + count);
      expect([opcode, timed]).toEqual([opcode, counters[opcode]]);
      expect(counters[ELAPSED + opcode] > 0).toBe(timed > 0);
    }
  });

  it('answers WRITE itself, past 1 MiB in one go, at any offset', async () => {
    const mnt = await serve();
    const block = randomBytes(2 ** 21);
    const source = join(raw.dir, 'source');
    writeFileSync(source, block);
    const dd = ['bs=2M', 'count=1', 'conv=notrunc', 'oflag=seek_bytes', 'seek=12345'];
    const ran = await run('dd', [`if=${source}`, `of=${join(mnt, 'data')}`, ...dd]);
    expect(ran).toMatchObject({ code: 0 });
    const ended = await raw.umount();
    expect(ended).toMatchObject({ engineWrites: 0 });
    expect(ended.counters[63]).toBe(block.length);
    const written = readFileSync(join(raw.dir, 'data0'));
    expect(written.subarray(12345, 12345 + block.length).equals(block)).toBe(true);
    expect(written.length).toBe(SIZE);
  });

  it('leaves a WRITE that must drop setuid bits to the engine', async () => {
    const mnt = await serve();
    const script = `printf x | dd of=${join(mnt, 'data')} conv=notrunc`;
    const ids = ['--reuid=65534', '--regid=65534', '--clear-groups'];
    // The test directory is 0700: let that user through.
    execFileSync('chmod', ['711', raw.dir]);
    expect(await run('setpriv', [...ids, 'sh', '-c', script])).toMatchObject({ code: 0 });
    const ended = await raw.umount();
    expect(ended).toMatchObject({ kills: 1, engineWrites: 1 });
    expect(ended.counters[WRITE]).toBe(1);
    expect(ended.counters[63]).toBe(0);
  });

  it('leaves a WRITE that finds no room to the engine, and returns the error of a backing that cannot be read', async () => {
    const mnt = await serve();
    const write = await run('dd', [
      'if=/dev/zero',
      `of=${join(mnt, 'full')}`,
      'conv=notrunc',
      'count=1',
    ]);
    expect(write).toMatchObject({ code: 0 });
    const read = await run('cat', [join(mnt, 'unreadable')]);
    expect(read.stderr).toContain('Bad file descriptor');
    expect(await raw.umount()).toMatchObject({ engineWrites: 1 });
  });

  it('answers EIO when the kernel refuses a reply, and remembers why', async () => {
    const mnt = await serve();
    const { stderr, code } = await run('stat', [join(mnt, 'broken')]);
    expect(code).toBe(1);
    expect(stderr).toContain('Input/output error');
    expect((await raw.umount()).sendError).toBe(22);
  });

  it('sends a late reply', async () => {
    const mnt = await serve();
    expect(await run('stat', [join(mnt, 'late')])).toMatchObject({ code: 0 });
  });

  it('tells of an abort', async () => {
    await serve();
    raw.abort();
    expect(await raw.line<Ended>()).toMatchObject({ ended: raw.mountpoints[0], readError: 0 });
  });

  it('lets a busy mount starve neither another mount nor the wake descriptor', async () => {
    const [busy, other] = [await serve(2, 20), raw.mountpoints[1]];
    const stop = join(raw.dir, 'stop');
    const loop = 'i=0; until [ -e "$2" ]; do [ -e "$1/none$i" ]; i=$((i+1)); done; echo $i';
    const args = ['-c', loop, 'sh', busy, stop];
    const storm = Promise.all([1, 2].map(() => run('sh', args, 100_000)));
    // While two programs ask without a pause, a third one is answered, again and again.
    const least = performance.now() + 1000;
    for (let i = 0; i < 20 || performance.now() < least; i++) {
      expect(await run('stat', [join(other, 'data')])).toMatchObject({ code: 0 });
    }
    writeFileSync(stop, '');
    const asked = (await storm).map(({ stdout }) => Number(stdout.toString()));
    const [one, two] = [await raw.umount(0), await raw.umount(1)];
    expect(Math.min(...asked)).toBeGreaterThan(0);
    expect(one.counters[1]).toBeGreaterThanOrEqual(asked[0] + asked[1]);
    expect(two.counters[1]).toBeGreaterThan(3);
    expect(two.wakes).toBeGreaterThan(5);
  });
});
