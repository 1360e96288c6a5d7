/**
 * Global set-up of the projects that mount. Every test works below one directory of this run
 * (STRATAFS_TEST_DIR); before the run no mount of an earlier one may be left there, and after it
 * none of this one.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import process from 'node:process';

const PREFIX = 'stratafs-test-';

/** Mount points below `dir`, deepest first, as mountinfo spells them. */
export function mountsBelow(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point === dir || point.startsWith(`${dir}/`))
    .reverse();
}

function staleRuns(): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(PREFIX))
    .filter((name) => !existsSync(`/proc/${name.slice(PREFIX.length)}`))
    .map((name) => join(tmpdir(), name));
}

function detach(points: readonly string[]): void {
  for (const point of points) spawnSync('umount', ['-l', point]);
}

export default function setup(): () => void {
  for (const dir of staleRuns()) {
    const left = mountsBelow(dir);
    if (left.length > 0)
      throw new Error(
        `an earlier test run left mounts; look why, then umount -l them:\n${left.join('\n')}`,
      );
    rmSync(dir, { recursive: true, force: true });
  }
  const dir = join(tmpdir(), `${PREFIX}${process.pid}`);
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  process.env['STRATAFS_TEST_DIR'] = dir;
  return () => {
    const left = mountsBelow(dir);
    detach(left);
    rmSync(dir, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`the tests left mounts:\n${left.join('\n')}`);
  };
}
