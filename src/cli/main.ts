/**
 * The command line, for all but the mounts and unmounts that the launcher does itself. Run by the
 * launcher with the arguments it got.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { UserError } from '../base/errno.js';
import { type Command, parseCommand } from '../options/commandLine.js';
import { serveForeground } from '../host/foreground.js';
import { planMount } from '../options/plan.js';
import { euid, workingDirectory } from '../wire/sockets.js';
import { runBench } from './bench.js';
import { diffText } from './diff.js';
import { helpText, versionText } from './help.js';
import { mountsText } from './mounts.js';
import { statsText } from './stats.js';

const LAUNCHER = fileURLToPath(new URL('../../build/Release/stratafs', import.meta.url));

/** The arguments as bytes (latin1): process.argv decodes them as UTF-8, which loses other names. */
function rawArguments(): string[] {
  const line = readFileSync('/proc/self/cmdline', 'latin1').split('\0');
  const count = process.argv.length - 2;
  return line.slice(line.length - 1 - count, -1);
}

/** Writes latin1 text as its bytes, whole, also into a pipe. */
function print(text: string): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      // EPIPE: the reader has seen enough. EAGAIN: a full non-blocking pipe, tried again.
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
    }
  }
}

/** What the launcher does by itself, for those who run this file directly. */
function launch(args: readonly string[]): number {
  const texts = args.map((arg) => Buffer.from(arg, 'latin1').toString('utf8'));
  return spawnSync(LAUNCHER, texts, { stdio: 'inherit' }).status ?? 1;
}

const utf8 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

async function run(command: Command): Promise<number> {
  switch (command.kind) {
    case 'help':
      print(helpText());
      return 0;
    case 'version':
      print(versionText());
      return 0;
    case 'mounts':
      print(utf8(await mountsText(command.json)));
      return 0;
    case 'stats':
      print(utf8(await statsText(command.path, command.json)));
      return 0;
    case 'diff':
      print(await diffText(command.path, command.json));
      return 0;
    case 'bench':
      return runBench(command.args);
    case 'unmount':
      return launch(['unmount', ...(command.lazy ? ['--lazy'] : []), command.path]);
    case 'mount': {
      const { options, mountpoint, debug } = command;
      const plan = planMount(options, {
        cwd: workingDirectory(),
        mountpoint,
        privileged: euid() === 0,
        debug,
      });
      if (command.foreground) return serveForeground(plan);
      return launch([...options.flatMap((list) => ['-o', list]), mountpoint]);
    }
  }
}

try {
  process.exitCode = await run(parseCommand(rawArguments()));
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  writeSync(2, `stratafs: ${error.message}\n`);
  process.exitCode = 1;
}
