/** An engine thread that fails takes its own mounts with it, no others, and leaves nobody waiting. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../support/client.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

const HOST = fileURLToPath(new URL('../support/crashingHost.mjs', import.meta.url));
const DIST = fileURLToPath(new URL('../../dist', import.meta.url));

interface Answer {
  readonly thread?: number;
  readonly mounts?: readonly string[];
  readonly error?: string;
}

class Host {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  log = '';

  constructor() {
    const child = spawn('node', [HOST, DIST], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.log += text));
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async ask(command: object): Promise<Answer> {
    this.child.stdin?.write(`${JSON.stringify(command)}\n`);
    const next = await this.#lines.next();
    if (next.done === true) throw new Error(`the host has ended: ${this.log}`);
    return JSON.parse(next.value) as Answer;
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.stdin?.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
    await gone;
    clearTimeout(timer);
  }
}

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('an engine that fails', () => {
  let base: string;
  let host: Host;
  let clients: Client[];

  beforeEach(() => {
    base = scratch('crash');
    for (const name of ['low', 'u1', 'w1', 'u2', 'w2', 'm1', 'm2']) mkdirSync(join(base, name));
    writeFileSync(join(base, 'low/hello'), 'hello\n');
    host = new Host();
    clients = [];
  });

  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await host.close();
    expect(mountsBelow(base)).toEqual([]);
    rmSync(base, { recursive: true, force: true });
  });

  const mount = (n: number): Promise<Answer> => {
    const [low, upper, work] = ['low', `u${n}`, `w${n}`].map((name) => join(base, name));
    const options = `lowerdir=${low},upperdir=${upper},workdir=${work}`;
    return host.ask({ mount: options, at: join(base, `m${n}`) });
  };

  async function client(n: number): Promise<Client> {
    const started = await Client.start(join(base, `m${n}`));
    clients.push(started);
    return started;
  }

  it.each(['throw', 'leave'])('by a %s', async (how) => {
    const { thread: first } = await mount(1);
    const { thread: second } = await mount(2);
    expect(first).not.toBe(second);
    const [one, two] = [await client(1), await client(2)];
    await one.must('mkdir', 'kept', '0755');
    await two.must('mkdir', 'before', '0755');

    const left = await host.ask({ fail: first, how });
    expect(left.mounts).toEqual([join(base, 'm2')]);
    expect(host.log).toContain('an engine thread died');
    // Who is in the dead mount gets an error at once; new callers see what it was mounted on.
    expect(['ENOTCONN', 'ECONNABORTED']).toContain(await one.errno('lstat', 'hello'));
    expect(mountsBelow(join(base, 'm1'))).toEqual([]);
    await two.must('mkdir', 'after', '0755');
    await two.must('lstat', 'before');

    const again = await mount(1);
    expect(again.error).toBeUndefined();
    const new1 = await client(1);
    await new1.must('lstat', 'kept');
    await new1.must('lstat', 'hello');
    expect(readFileSync(join(base, 'low/hello'), 'utf8')).toBe('hello\n');
  });
});
