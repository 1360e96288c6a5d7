/** `stratafs -o OPTIONS MNT`. The launcher hands most mounts to the host; these are the others. */
import { spawnSync } from 'node:child_process';
import { UserError } from '../base/errno.js';
import { serveForeground } from '../host/foreground.js';
import { parseMount } from '../options/commandLine.js';
import { planMount } from '../options/plan.js';
import { nativeFile } from '../sys/installed.js';
import { euid, workingDirectory } from '../wire/sockets.js';
import { command } from './frame/command.js';

/** Set for a launcher that is run from here: one that leaves the same to us again would go on for ever. */
const LAUNCHED = 'STRATAFS_LAUNCHED';

/** What the launcher does by itself, for those who run main.js directly. */
export function launch(args: readonly string[]): number {
  const texts = args.map((arg) => Buffer.from(arg, 'latin1').toString('utf8'));
  if (process.env[LAUNCHED] !== undefined) {
    throw new UserError(
      `the launcher is of another version than ${import.meta.filename}: rebuild it`,
    );
  }
  const env = { ...process.env, [LAUNCHED]: '1' };
  return spawnSync(nativeFile('stratafs'), texts, { stdio: 'inherit', env }).status ?? 1;
}

/** Mounts what the command line says; resolves with the exit status. Throws UserError. */
export async function runMount(args: readonly string[]): Promise<number> {
  const { options, mountpoint, foreground, debug } = parseMount(args);
  const plan = planMount(options, {
    cwd: workingDirectory(),
    mountpoint,
    privileged: euid() === 0,
    debug,
    inherits: true,
    asFuseOverlayfs: process.env['STRATAFS_AS'] === 'fuse-overlayfs',
    dotWhiteouts: process.env['FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT'] !== undefined,
  });
  if (foreground) return serveForeground(plan);
  return launch([...options.flatMap((list) => ['-o', list]), mountpoint]);
}

/** The same with the word in front. The parser above reads the flags; here they are for the help. */
export const mount = command({
  usage: 'mount [SOURCE] MNT -o OPTIONS',
  about: 'Mount a union of layers; the word mount may be left out',
  flags: {
    options: {
      kind: 'list',
      short: 'o',
      value: 'OPTIONS',
      help: 'Options, comma-separated; may be given many times. \\, and \\: stand for themselves',
    },
    foreground: {
      kind: 'bool',
      short: 'f',
      help: 'Serve in this process until unmounted; SIGINT and SIGTERM unmount',
    },
    debug: {
      kind: 'bool',
      short: 'd',
      help: 'As --foreground, with a line for each request on stderr',
    },
  },
  args: [1, 2],
  plain: true,
  notes: [
    'SOURCE is what mount(8) and mount.fuse3 put there; it is ignored. Returns 0 when the mount is live.',
  ],
  run: ({ rawArgs, values }) => {
    const options = values.options.flatMap((list) => [
      '-o',
      Buffer.from(list, 'utf8').toString('latin1'),
    ]);
    const flags = [...(values.foreground ? ['-f'] : []), ...(values.debug ? ['-d'] : [])];
    return runMount([...flags, ...options, ...rawArgs]);
  },
});
