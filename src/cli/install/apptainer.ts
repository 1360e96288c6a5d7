/**
 * `stratafs install apptainer`: the program that its image driver runs for overlays, and the line that has
 * it do so.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { UserError } from '../../base/errno.js';
import { refuseUser } from './containerd.js';
import { needRoot } from './services.js';
import { shim } from './shim.js';
import { target } from './target.js';

/** Where it is installed: `apptainer buildcfg` prints NAME=VALUE. Throws UserError. */
function built(): ReadonlyMap<string, string> {
  const ran = spawnSync('apptainer', ['buildcfg'], { encoding: 'utf8', timeout: 10_000 });
  if (ran.error || ran.status !== 0) {
    throw new UserError(
      'apptainer is not on PATH: install it, or say --conf FILE and --libexec DIR (apptainer buildcfg shows APPTAINER_CONF_FILE and LIBEXECDIR)',
    );
  }
  const lines = ran.stdout.split('\n').map((line) => line.split('='));
  return new Map(lines.map(([name, ...rest]) => [name, rest.join('=')]));
}

function directive(given: string | undefined, name: string): string {
  const value = given ?? built().get(name);
  if (value?.startsWith('/')) return value;
  throw new UserError(`apptainer buildcfg does not show ${name} as a path: give it by a flag`);
}

const LINE = 'enable overlay = driver';
const OVERLAY = /^[ \t]*enable overlay[ \t]*=[ \t]*(\S+)[ \t]*$/m;

/** Its file has one directive a line. */
function edit(path: string, before: string | undefined): string {
  if (before === undefined) throw new UserError(`${path} does not exist: install Apptainer first`);
  const there = OVERLAY.exec(before);
  if (there?.[1] === 'no') {
    throw new UserError(
      `${path} has "enable overlay = no", so overlays are forbidden: take that line out first`,
    );
  }
  if (there) return before.replace(OVERLAY, LINE);
  return `${before}${before.endsWith('\n') ? '' : '\n'}${LINE}\n`;
}

export const apptainer = target({
  name: 'apptainer',
  about: 'Be what Apptainer mounts overlays with: fuse-overlayfs of its image driver',
  flags: {
    user: { kind: 'bool', help: 'Refused: Apptainer reads the configuration of the machine' },
    conf: {
      kind: 'string',
      value: 'FILE',
      help: 'Its apptainer.conf (default: apptainer buildcfg)',
    },
    libexec: { kind: 'string', value: 'DIR', help: 'Its LIBEXECDIR (default: apptainer buildcfg)' },
  },
  plan({ user, conf, libexec }) {
    refuseUser(
      user,
      'Apptainer reads one apptainer.conf, that of the machine: run it as root without --user',
    );
    needRoot('apptainer.conf');
    const path = directive(conf, 'APPTAINER_CONF_FILE');
    return {
      // Searched before PATH. Packages of Apptainer have their own there: then putFiles says so.
      files: [shim(join(directive(libexec, 'LIBEXECDIR'), 'apptainer/bin/fuse-overlayfs'))],
      edits: [{ path, edit: (before) => edit(path, before), lines: LINE }],
    };
  },
});
