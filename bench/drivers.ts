/** The drivers, as data. */
import { join } from 'node:path';
import type { Driver } from './types.js';

export const PLAIN = 'plain directory';
export const KERNEL = 'kernel overlayfs';
export const FUSE_OVERLAYFS = 'fuse-overlayfs';
export const STRATAFS = 'stratafs';

/** The built-in drivers, in the order of the table's columns. */
export function builtinDrivers(repository: string): Driver[] {
  const stratafs = join(repository, 'build/Release/stratafs');
  const strataVersion = [stratafs, '--version'];
  return [
    { name: PLAIN, server: 'exits' },
    {
      name: KERNEL,
      server: 'exits',
      command: ['mount', '-t', 'overlay', 'overlay', '-o', '{opts}', '{mnt}'],
      version: ['uname', '-r'],
    },
    {
      name: STRATAFS,
      server: 'exits',
      command: [stratafs, '-o', '{opts}', '{mnt}'],
      version: strataVersion,
    },
    {
      name: 'stratafs writeback=0',
      server: 'exits',
      command: [stratafs, '-o', '{opts},writeback=0', '{mnt}'],
      version: strataVersion,
      onRequest: true,
    },
    {
      name: 'stratafs passthrough',
      server: 'exits',
      command: [stratafs, '-o', '{opts},data=passthrough', '{mnt}'],
      version: strataVersion,
      onRequest: true,
    },
    {
      name: FUSE_OVERLAYFS,
      server: 'exits',
      command: ['fuse-overlayfs', '-o', '{opts}', '{mnt}'],
      version: ['fuse-overlayfs', '--version'],
    },
    {
      name: 'unionfs-fuse',
      server: 'exits',
      command: ['unionfs', '-o', 'cow,dev,suid', '{branches}', '{mnt}'],
      version: ['unionfs', '--version'],
    },
    {
      name: 'fuse-native union',
      server: 'stays',
      command: [
        process.execPath,
        join(repository, 'dist/bench/peers/fuseNativeUnion.js'),
        '-o',
        '{opts}',
        '{mnt}',
      ],
      version: [
        process.execPath,
        '-p',
        `'fuse-native ' + require('${join(repository, 'node_modules/fuse-native/package.json')}').version`,
      ],
    },
  ];
}

/**
 * A driver from `--driver NAME='COMMAND {opts} {mnt}'`. Words are split at blanks; a final `&`
 * says that the command stays in the foreground as the server.
 */
export function parseDriver(text: string): Driver {
  const equals = text.indexOf('=');
  const name = text.slice(0, equals).trim();
  const words = text.slice(equals + 1).split(/\s+/);
  const command = words.filter((word) => word !== '');
  const stays = command.at(-1) === '&';
  if (stays) command.pop();
  const [program = ''] = command;
  if (equals < 1 || !command.some((word) => word.includes('{mnt}'))) {
    throw new Error(
      `--driver ${text} does not say how to mount; write NAME='COMMAND -o {opts} {mnt}'.`,
    );
  }
  return { name, command, server: stays ? 'stays' : 'exits', version: [program, '--version'] };
}
