/** The commands about mounts: everything that is no command of the store. */
import { spawnSync } from 'node:child_process';
import { serveForeground } from '../host/foreground.js';
import { type Command, parseCommand } from '../options/commandLine.js';
import { planMount } from '../options/plan.js';
import { nativeFile } from '../sys/installed.js';
import { euid, workingDirectory } from '../wire/sockets.js';
import { runBench } from './bench.js';
import { runDiff } from './diff.js';
import { printBytes } from './frame/output.js';
import { runHost } from './host.js';
import { runLogs } from './logs.js';
import { helpText, versionText } from './help.js';
import { mountsText } from './mounts.js';
import { statsText } from './stats.js';

/** Writes latin1 text as its bytes. */
const print = (text: string): void => {
  printBytes(Buffer.from(text, 'latin1'));
};

/** What the launcher does by itself, for those who run this file directly. */
function launch(args: readonly string[]): number {
  const texts = args.map((arg) => Buffer.from(arg, 'latin1').toString('utf8'));
  return spawnSync(nativeFile('stratafs'), texts, { stdio: 'inherit' }).status ?? 1;
}

const utf8 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

async function runCommand(command: Command): Promise<number> {
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
      return runDiff(command);
    case 'host':
      return runHost(command);
    case 'logs':
      return runLogs(command.follow);
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

/** Parses and runs; throws UserError. Resolves with the exit status. */
export const runMountCommand = (args: readonly string[]): Promise<number> =>
  runCommand(parseCommand(args));
