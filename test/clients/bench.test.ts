import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { stratafsBinary, has } from '../support/needs.js';
import { run } from '../support/run.js';
import { MOUNTS, withScratch } from './support/union.js';

interface Report {
  readonly rows: readonly {
    readonly id: string;
    readonly drivers: Record<string, { readonly values: readonly number[] } | undefined>;
  }[];
  readonly reasons: Record<string, Record<string, string> | undefined>;
}

const OWN = `mine=${stratafsBinary()} -o {opts},writeback=0 {mnt}`;
const BROKEN = 'broken=false {opts} {mnt}';
const DRIVERS = 'plain,stratafs,stratafs used host,stratafs rootless,mine,broken';

const benches = (dir: string, ...args: string[]) =>
  run(stratafsBinary(), ['bench', '--quick', '--dir', dir, '--out', `${dir}/out`, ...args], {
    timeoutMs: 300_000,
  });

describe.skipIf(
  !has({ ...MOUNTS, programs: ['gcc', 'nsenter', 'unshare', 'tar'], mountNamespaces: true }),
)('stratafs bench', () => {
  it('compares drivers given by name and by command, and leaves nothing', async () => {
    await withScratch(async (dir) => {
      const drivers = ['--drivers', DRIVERS, '--driver', OWN, '--driver', BROKEN];
      const ran = await benches(dir, '--only', 'small,chmod,mount', ...drivers);
      expect(ran.stderr).not.toMatch(/Error|at .*\.js/);
      // One driver does not mount.
      expect(ran.code).toBe(1);
      const report = JSON.parse(readFileSync(`${dir}/out.json`, 'utf8')) as Report;
      for (const id of ['small.stat', 'small.open', 'chmod']) {
        const row = report.rows.find((each) => each.id === id);
        for (const driver of DRIVERS.split(',').slice(0, -1)) {
          const values = row?.drivers[driver === 'plain' ? 'plain directory' : driver]?.values;
          expect(values, `${id} of ${driver}`).toHaveLength(1);
          expect(values?.every((value) => value > 0)).toBe(true);
        }
      }
      expect(report.reasons['small']?.['broken']).toMatch(/^cannot mount: /);
      expect(report.reasons['mount']?.['plain directory']).toBe('a plain directory is not mounted');
      expect(readFileSync(`${dir}/out.md`, 'utf8')).toContain('| stat, warm (each) |');
      expect(readdirSync(dir).filter((name) => name.startsWith('run-'))).toEqual([]);
      expect(readFileSync('/proc/self/mountinfo', 'latin1')).not.toContain(dir);
    });
  });

  it('refuses what it cannot measure with a sentence, and makes nothing', async () => {
    await withScratch(async (dir) => {
      const ran = await benches(`${dir}/new`, '--only', 'fnid');
      expect(ran.code).toBe(1);
      expect(ran.stderr).toMatch(/^There is no trial fnid; there are: find, /);
      expect(existsSync(`${dir}/new`)).toBe(false);
    });
  });
});
