/**
 * The story that `npm start` tells: an image made of programs of this machine, containers on it, what they
 * change, a commit, a volume, and that nothing is left in the end. In a store of its own; without a network.
 */
import { UserError } from '../base/errno.js';
import { findProgram } from '../store/containers/runtime.js';
import { Sys } from '../sys/sys.js';
import { makeLayers } from './demoLayers.js';
import type { Report } from './demoReport.js';
import { stratafs } from './demoShell.js';
import { ALL_WORDS } from './words.js';

/** What containers need besides us, and where Debian has it; undefined: all is there. */
export function missingForContainers(): string | undefined {
  if (findProgram('runc') === undefined && findProgram('crun') === undefined) return 'runc';
  return findProgram('conmon') === undefined ? 'conmon' : undefined;
}

const CHANGE =
  'echo "One more line." >> /etc/motd; rm /usr/share/doc/HISTORY; mkdir /srv; id -u > /srv/who';

type Step = readonly [title: string, ...commands: (readonly string[])[]];

const run = (...args: string[]): readonly string[] => ['run', '--network', 'none', ...args];

function steps(base: string): readonly Step[] {
  const commit: Step[] =
    'commit' in ALL_WORDS
      ? [
          [
            'Its layer becomes an image, on the same base',
            ['commit', 'first', 'demo:2'],
            ['history', 'demo:2'],
          ],
          ['A container of the new image begins with it', run('--rm', 'demo:2', 'cat', '/srv/who')],
        ]
      : [];
  return [
    ['A directory becomes an image of one layer', ['import', base, 'demo'], ['images']],
    [
      'A container: the image, and a thin layer for what it writes',
      run('--rm', 'demo', 'cat', '/etc/motd'),
    ],
    ['Another one changes files', run('--name', 'first', 'demo', 'sh', '-c', CHANGE)],
    ['What it changed is in its own layer', ['diff', 'first']],
    ['The image is as it was', run('--rm', 'demo', 'cat', '/etc/motd'), ['layer', 'verify']],
    ...commit,
    [
      'A volume outlives its containers',
      run('--rm', '-v', 'notes:/notes', 'demo', 'sh', '-c', 'echo kept > /notes/one'),
      run('--rm', '-v', 'notes:/notes', 'demo', 'cat', '/notes/one'),
    ],
    ['What there is', ['ps', '-a'], ['images'], ['volume', 'ls']],
    ['A container goes with its layer; what is not needed goes with it', ['rm', 'first'], ['gc']],
  ];
}

/** As a person types it. */
const typed = (args: readonly string[], base: string): string =>
  args
    .map((arg) => (arg === base ? 'base' : arg))
    .map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg}'`))
    .join(' ');

/** Tells the story in `dir`, where the store goes, too. */
export async function story(report: Report, dir: string, stop: AbortSignal): Promise<void> {
  const root = `${dir}/store`;
  const layers = await makeLayers(new Sys(), dir, stop);
  const base = layers.at(-1)?.path;
  if (base === undefined) throw new UserError('there is no base layer');
  report.line('stratafs: images, containers and volumes on its own union mounts');
  try {
    for (const [title, ...commands] of steps(base)) {
      const ran = [];
      for (const args of commands) {
        ran.push(await stratafs(['--root', root, ...args], stop));
      }
      report.heading(
        title,
        ran.reduce((sum, { ms }) => sum + ms, 0),
      );
      for (const [i, { output }] of ran.entries()) {
        report.session(`stratafs ${typed(commands[i] ?? [], base)}`, output);
      }
    }
  } finally {
    await cleanUp(root);
  }
}

/** Nothing runs and nothing is mounted any more, also when the story was cut off. */
async function cleanUp(root: string): Promise<void> {
  const never = new AbortController().signal;
  const { output } = await stratafs(['--root', root, 'ps', '-aq'], never);
  const left = output.split('\n').filter(Boolean);
  if (left.length > 0) await stratafs(['--root', root, 'rm', '-f', '-v', ...left], never);
}
