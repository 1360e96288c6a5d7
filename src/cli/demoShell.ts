/** Programs that the demonstration starts: the mount command, and shells inside the mount. */
import { spawn } from 'node:child_process';
import { UserError } from '../base/errno.js';
import { nativeFile } from '../sys/installed.js';

/** What a program printed, and how long it took from start to end in milliseconds. */
interface Ran {
  readonly code: number;
  readonly output: string;
  readonly ms: number;
}

/** The command as a user has it; STRATAFS_BIN names another one. */
const STRATAFS = process.env['STRATAFS_BIN'] ?? nativeFile('stratafs');

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Enters the root $1 in a mount namespace of its own, with /proc and /dev where the root has a
 * place for them, and leaves nothing mounted when it ends.
 */
const ENTER = `
[ ! -d "$1/proc" ] || mount -t proc proc "$1/proc"
[ ! -d "$1/dev" ] || mount --rbind /dev "$1/dev"
root=$1; shift
exec chroot "$root" "$@"`;

/** Runs a program and collects stdout and stderr in the order they came. Stops it when `stop` fires. */
export function run(
  command: string,
  args: readonly string[],
  stop: AbortSignal,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Ran> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    const child = spawn(command, args, { stdio: [...stdio], signal: stop, cwd: '/', env });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.on('error', (error) => {
      if (error.name === 'AbortError') return; // it ends now: 'close' follows
      reject(new UserError(`cannot run ${command}: ${error.message}`));
    });
    child.on('close', (code) => {
      if (stop.aborted) reject(new UserError('stopped'));
      else resolve({ code: code ?? 1, output, ms: performance.now() - started });
    });
  });
}

/** Runs the stratafs command; a failure is the sentence that it printed. */
export async function stratafs(args: readonly string[], stop: AbortSignal): Promise<Ran> {
  const ran = await run(STRATAFS, args, stop);
  if (ran.code === 0) return ran;
  const said = ran.output.trim().replace(/^stratafs: /, '');
  throw new UserError(said === '' ? `${STRATAFS} failed with code ${ran.code}` : said);
}

/** Runs `script` with /bin/sh of `root` as its root directory. */
export function inRoot(root: string, script: string, stop: AbortSignal): Promise<Ran> {
  const inside = ['/bin/sh', '-c', script];
  return run('unshare', enter(root, inside), stop, { PATH, LC_ALL: 'C' });
}

/** An interactive /bin/sh inside `root`; where `root` has none, this machine's shell with `root` as its directory. */
export async function interactive(root: string, stop: AbortSignal): Promise<void> {
  const probe = await inRoot(root, ':', stop);
  if (probe.code === 0) {
    const env = { PATH, HOME: '/', TERM: process.env['TERM'] ?? 'dumb', PS1: 'stratafs# ' };
    return shell('unshare', enter(root, ['/bin/sh']), '/', env, stop);
  }
  return shell(process.env['SHELL'] ?? '/bin/sh', [], root, process.env, stop);
}

function enter(root: string, inside: readonly string[]): string[] {
  const own = ['--mount', '--propagation', 'private', '/bin/sh', '-euc', ENTER, 'enter'];
  return [...own, root, ...inside];
}

function shell(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
  stop: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', cwd, env, signal: stop });
    child.on('error', (error) => {
      if (error.name === 'AbortError') return; // it ends now: 'close' follows
      reject(new UserError(`cannot start a shell (${command}): ${error.message}`));
    });
    // Its exit code is that of the last command typed, which says nothing about the mount.
    child.on('close', () => resolve());
  });
}
