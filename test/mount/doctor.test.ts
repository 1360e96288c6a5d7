/** `stratafs doctor`: what it finds on this machine, and on one that lacks something. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readdirSync, rmSync } from 'node:fs';
import { has, stratafsBinary } from '../support/needs.js';
import { run, scratch } from '../support/run.js';

interface Report {
  readonly version: number;
  readonly checks: readonly { id: string; state: string; found: string; cure?: string }[];
}

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('stratafs doctor', () => {
  let base: string;

  beforeAll(() => {
    base = scratch('doctor');
  });

  afterAll(() => {
    rmSync(base, { recursive: true, force: true });
  });

  it('mounts a union, says what the directory can do, and leaves nothing', async () => {
    const { code, stdout } = await run(stratafsBinary(), ['doctor', '--json', '--dir', base]);
    const { version, checks } = JSON.parse(stdout) as Report;
    expect([code, version]).toEqual([0, 1]);
    const found = new Map(checks.map((check) => [check.id, check]));
    expect(found.get('mount')).toMatchObject({ state: 'ok' });
    expect(found.get('mount')?.found).toMatch(/FUSE protocol 7\.\d\d/);
    expect(found.get('upper')?.found).toContain('RENAME_EXCHANGE');
    for (const id of ['kernel', 'dev-fuse', 'passthrough', 'open-files', 'time-outs', 'mount-8']) {
      expect(found.get(id)?.state).toMatch(/^(ok|note|warn)$/);
    }
    expect(readdirSync(base)).toEqual([]);
  });

  it.skipIf(!has({ mountNamespaces: true }))(
    'says what is wrong, and what to do, where there is no /dev/fuse',
    async () => {
      const script = 'mount -t tmpfs none /dev && exec "$0" doctor --json --dir "$1"';
      const alone = ['-m', '--propagation', 'private', 'sh', '-c', script, stratafsBinary(), base];
      const { code, stdout } = await run('unshare', alone);
      expect(code).toBe(1);
      const device = (JSON.parse(stdout) as Report).checks.find(({ id }) => id === 'dev-fuse');
      expect(device).toMatchObject({ state: 'fail', found: '/dev/fuse: ENOENT' });
      expect(device?.cure).toMatch(/--device \/dev\/fuse|modprobe fuse/);
    },
  );

  it('fails where nothing can be written', async () => {
    const { code, stdout } = await run(stratafsBinary(), ['doctor', '--dir', '/proc']);
    expect(code).toBe(1);
    expect(stdout).toContain('FAIL  /proc: ');
    expect(stdout).not.toContain('\x1b');
  });
});
