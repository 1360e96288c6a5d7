import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../../src/base/errno.js';
import type { Mounts } from '../../../src/host/mounts.js';
import type { MountPlan } from '../../../src/options/plan.js';
import { MountServer } from '../../../src/host/server.js';
import type { Native } from '../../../src/sys/native.js';

const SELF = {
  pid: 1,
  version: '1',
  build: 'b',
  path: '/p',
  namespace: '1',
  runBy: 'launcher',
  identity: 'uid 1',
} as const;
const ownUid = process.geteuid?.() ?? 0;

describe('the socket', () => {
  let directory: string;
  let server: MountServer | undefined;
  let plans: MountPlan[];
  let logged: string[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'stratafs-server-'));
    plans = [];
    logged = [];
  });

  afterEach(() => {
    server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A server whose callers all have user ID `uid`, and which refuses mounts on /refused. */
  function listen(uid: number): string {
    const mounts = {
      list: () => [],
      mount: (plan: MountPlan) => {
        plans.push(plan);
        if (plan.mountpoint === '/refused') return Promise.reject(new UserError('refused: try x'));
        if (plan.mountpoint === '/bug') return Promise.reject(new TypeError('a bug'));
        return Promise.resolve({});
      },
    };
    const path = join(directory, 'socket');
    server = new MountServer(
      { peerUid: () => uid, peerIdentity: () => 'uid 1' } as unknown as Native,
      mounts as unknown as Mounts,
      {
        self: { ...SELF },
        control: { retired: () => false, retire: () => undefined, stop: () => undefined },
        onQuiet: () => undefined,
        log: (line) => logged.push(line),
      },
    );
    server.listen({ path });
    return path;
  }

  function ask(path: string, line: string): Promise<string> {
    return new Promise((resolve) => {
      let text = '';
      const socket = createConnection(path);
      socket.setEncoding('utf8');
      socket.on('data', (part: string) => (text += part));
      socket.on('error', () => {
        // Cut off by the server: 'close' follows, with no text.
      });
      socket.on('close', () => {
        resolve(text);
      });
      socket.end(line);
    });
  }

  const request = (mountpoint: string): string =>
    `${JSON.stringify({ argv: ['-o', 'lowerdir=a\xff', mountpoint], cwd: '/c', build: 'b' })}\n`;

  it('serves the same user', async () => {
    expect(await ask(listen(ownUid), request('/m'))).toBe('{"code":0,"stdout":"","stderr":""}\n');
    expect(plans[0]?.mountpoint).toBe('/m');
  });

  it('answers nobody else', async () => {
    expect(await ask(listen(ownUid + 1), request('/m'))).toBe('');
    expect([plans, logged]).toEqual([[], [`refused a request of user ${ownUid + 1}`]]);
  });

  it('answers a refusal with its sentence and a bug with a pointer to the log', async () => {
    const path = listen(ownUid);
    expect(await ask(path, request('/refused'))).toBe(
      '{"code":1,"stdout":"","stderr":"stratafs: refused: try x\\n"}\n',
    );
    expect(await ask(path, request('/bug'))).toContain('the host failed: a bug; see its log');
    expect(logged.join()).toContain('TypeError: a bug');
  });

  it('answers what makes no sense', async () => {
    const path = listen(ownUid);
    for (const line of ['nonsense\n', '{"argv":["--help"],"cwd":"/"}\n', '{}\n']) {
      expect(await ask(path, line)).toMatch(/^(\{"code":1|null)/);
    }
  });
});
