/**
 * A mount that is refused, whatever the host's main thread cannot do, leaves nothing: no mount, no lock; what
 * cannot even be taken off again is served no more, so that nobody changes an upper that others may have.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../support/client.js';
import { has } from '../support/needs.js';
import { mustRun, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

const HOST = fileURLToPath(new URL('../support/faultyHost.mjs', import.meta.url));
const DIST = fileURLToPath(new URL('../../dist', import.meta.url));
/** How a mount is made. */
const WAYS = [
  ['with fsmount(2)', false],
  ['with mount(2)', true],
] as const;

interface Answer {
  readonly calls: readonly string[];
  readonly live: number;
  readonly error?: string;
}

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('a mount that is refused', () => {
  let base: string;
  let child: ChildProcess;
  let lines: AsyncIterator<string>;
  const at = (name: string): string => join(base, name);

  beforeAll(() => {
    base = scratch('refused');
    for (const name of ['low', 'up', 'work', 'mnt']) mkdirSync(at(name));
    writeFileSync(at('low/hello'), 'hello\n');
    child = spawn('node', [HOST, DIST], { stdio: ['pipe', 'pipe', 'ignore'] });
    if (!child.stdout) throw new Error('no pipe');
    lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  });

  afterAll(async () => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.stdin?.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await gone;
    clearTimeout(timer);
    for (const place of mountsBelow(base)) await run('umount', ['-l', place]);
    rmSync(base, { recursive: true, force: true });
  });

  async function ask(command: object): Promise<Answer> {
    child.stdin?.write(`${JSON.stringify(command)}\n`);
    const next = await lines.next();
    if (next.done === true) throw new Error('the host has ended');
    return JSON.parse(next.value) as Answer;
  }

  const mount = (fallback: boolean, fail = 0, lasting = false): Promise<Answer> => {
    const layers = `lowerdir=${at('low')},upperdir=${at('up')},workdir=${at('work')}`;
    return ask({ mount: `${layers},rprivate`, at: at('mnt'), fail, lasting, fallback });
  };

  async function unmount(): Promise<void> {
    await mustRun('umount', [at('mnt')]);
    for (let i = 0; i < 200 && (await ask({ live: true })).live > 0; i++) await sleep(10);
  }

  /** What stat(2) says of the mount point. */
  async function look(): Promise<string> {
    const client = await Client.start(base);
    const errno = await client.errno('stat', 'mnt/hello');
    await client.close();
    return errno;
  }

  describe.each(WAYS)('%s', (_, fallback) => {
    it('leaves nothing when one call fails', async () => {
      const { calls, error } = await mount(fallback);
      expect(error).toBeUndefined();
      await unmount();
      let refused = 0;
      for (let n = 1; n <= calls.length; n++) {
        const where = `call ${n}, ${calls[n - 1] ?? ''}`;
        const answer = await mount(fallback, n);
        if (answer.error === undefined) {
          expect(await look(), where).toBe('ok');
          await unmount();
          continue;
        }
        refused++;
        expect([answer.live, mountsBelow(base)], where).toEqual([0, []]);
        const again = await mount(fallback);
        expect(again.error, `after ${where}`).toBeUndefined();
        await unmount();
      }
      expect(refused).toBeGreaterThan(3);
    });

    it('is not served any more when nothing works from then on', { timeout: 120_000 }, async () => {
      const { calls } = await mount(fallback);
      await unmount();
      let stayed = 0;
      for (let n = 1; n <= calls.length; n++) {
        const where = `from call ${n}, ${calls[n - 1] ?? ''}, on`;
        const answer = await mount(fallback, n, true);
        if (answer.error === undefined) {
          await unmount();
          continue;
        }
        expect(answer.live, where).toBe(0);
        for (const place of mountsBelow(base)) {
          stayed++;
          expect(await look(), where).toBe('ENOTCONN');
          await mustRun('umount', ['-l', place]);
        }
        expect((await mount(fallback)).error, `after ${where}`).toBeUndefined();
        await unmount();
      }
      expect(stayed).toBeGreaterThan(0);
    });
  });
});
