/** What is written into the configuration of others: where our program is, and whom to tell. */
import { readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { E } from '../../base/errno.js';
import { nativeFile } from '../../sys/installed.js';
import { errnoOf } from '../../sys/paths.js';

/** The manager runs (sd_booted(3)); else there is nobody to tell. */
export const BOOTED = '/run/systemd/system';
/** The command of the package, which keeps its path over upgrades. */
const COMMAND = '/usr/bin/stratafs';

/** /usr/bin/stratafs, where it is this install's; else the launcher itself. */
export function program(): string {
  const own = nativeFile('stratafs');
  return sameFile(COMMAND, own) ? COMMAND : own;
}

function sameFile(a: string, b: string): boolean {
  try {
    return readFileSync(a).equals(readFileSync(b));
  } catch (error) {
    if (errnoOf(error) === E.ENOENT) return false;
    throw error;
  }
}

/** The major version that `PROGRAM --version` prints; undefined where there is no such program. */
export function majorOf(name: string): number | undefined {
  const ran = spawnSync(name, ['--version'], { encoding: 'utf8', timeout: 10_000 });
  const digits = /(?:^|[\sv])(\d+)\.\d+/.exec(ran.error ? '' : ran.stdout)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
