/** The drivers, as data. */
import { join } from 'node:path';
import type { Driver } from './types.js';

const PLAIN = 'plain directory';
export const KERNEL = 'kernel overlayfs';
export const FUSE_OVERLAYFS = 'fuse-overlayfs';
export const STRATAFS = 'stratafs';
export const USED_HOST = 'stratafs used host';
export const PASSTHROUGH = 'stratafs passthrough';
export const NO_WRITEBACK = 'stratafs writeback=0';
export const ROOTLESS = 'stratafs rootless';
export const ROOTLESS_FUSE_OVERLAYFS = 'fuse-overlayfs rootless';

/** Ours, with a fresh host for each trial unless the driver says otherwise. */
function stratafs(repository: string, name: string, more: string, rest: Partial<Driver>): Driver {
  const program = join(repository, 'build/Release/stratafs');
  const command = [program, '-o', `{opts}${more}`, '{mnt}'];
  return { name, server: 'exits', command, version: [program, '--version'], ...rest };
}

function kernelOverlayfs(name: string, more: string, rest: Partial<Driver>): Driver {
  const command = ['mount', '-t', 'overlay', 'overlay', '-o', `{opts}${more}`, '{mnt}'];
  return { name, server: 'exits', command, version: ['uname', '-r'], ...rest };
}

function fuseOverlayfs(name: string, rest: Partial<Driver>): Driver {
  const version = ['fuse-overlayfs', '--version'];
  const command = ['fuse-overlayfs', '-o', '{opts}', '{mnt}'];
  return { name, server: 'exits', command, version, ...rest };
}

function fuseNativeUnion(repository: string): Driver {
  const union = join(repository, 'dist/bench/peers/fuseNativeUnion.js');
  const manifest = join(repository, 'node_modules/fuse-native/package.json');
  return {
    name: 'fuse-native union',
    server: 'stays',
    command: [process.execPath, union, '-o', '{opts}', '{mnt}'],
    version: [process.execPath, '-p', `'fuse-native ' + require('${manifest}').version`],
    needs: { file: manifest, how: 'fuse-native is not installed: npm run bench:peers' },
    briefly: true,
  };
}

/** The built-in drivers, in the order of the table's columns. */
export function builtinDrivers(repository: string): Driver[] {
  return [
    { name: PLAIN, server: 'exits' },
    kernelOverlayfs(KERNEL, '', {}),
    kernelOverlayfs('kernel overlayfs metacopy', ',redirect_dir=on,metacopy=on,index=on', {
      onRequest: true,
    }),
    stratafs(repository, STRATAFS, '', {}),
    stratafs(repository, USED_HOST, '', { resident: true }),
    stratafs(repository, NO_WRITEBACK, ',writeback=0', { briefly: true }),
    stratafs(repository, PASSTHROUGH, ',data=passthrough', {}),
    fuseOverlayfs(FUSE_OVERLAYFS, {}),
    {
      name: 'unionfs-fuse',
      server: 'exits',
      command: ['unionfs', '-o', 'cow,dev,suid', '{branches}', '{mnt}'],
      version: ['unionfs', '--version'],
      briefly: true,
    },
    fuseNativeUnion(repository),
    stratafs(repository, ROOTLESS, '', { rootless: true, briefly: true }),
    fuseOverlayfs(ROOTLESS_FUSE_OVERLAYFS, { rootless: true, briefly: true }),
  ];
}

/** Words as a shell splits them: at blanks, but not within quotes; a backslash takes the next character. */
function splitWords(text: string): string[] {
  const words: string[] = [];
  const pattern = /(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g;
  for (const [word] of text.matchAll(pattern)) {
    words.push(
      word.replace(
        /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/g,
        (_, one?: string, two?: string, three?: string) =>
          one ?? two?.replace(/\\(["\\$`])/g, '$1') ?? three ?? '',
      ),
    );
  }
  return words;
}

/**
 * A driver from `--driver NAME='COMMAND {opts} {mnt}'`. Words are split as a shell does; a final `&`
 * says that the command stays in the foreground as the server.
 */
export function parseDriver(text: string): Driver {
  const equals = text.indexOf('=');
  const name = text.slice(0, equals).trim();
  const command = splitWords(text.slice(equals + 1));
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
