/** `stratafs install podman`: the mount program of podman, buildah and CRI-O (containers/storage). */
import { join } from 'node:path';
import { UserError } from '../../base/errno.js';
import { euid } from '../../wire/sockets.js';
import { program } from './program.js';
import { configHome, target } from './target.js';
import { type Setting, tomlLines, tomlOf, withSettings } from './toml.js';

const SYSTEM = '/etc/containers';
/** Of the table, and of the options above it, which older versions read. */
const OVERLAY = ['storage', 'options', 'overlay'];

const settings = (): Setting[] => [{ table: OVERLAY, key: 'mount_program', value: program() }];

/** What a file of its own needs besides: a storage.conf without a driver is refused. */
const ROOT: readonly Setting[] = [
  { table: ['storage'], key: 'driver', value: 'overlay' },
  { table: ['storage'], key: 'runroot', value: '/run/containers/storage' },
  { table: ['storage'], key: 'graphroot', value: '/var/lib/containers/storage' },
];
/** Of a user: where the rest lies follows from HOME and XDG_RUNTIME_DIR. */
const USER: readonly Setting[] = [{ table: ['storage'], key: 'driver', value: 'overlay' }];

function edit(path: string, before: string | undefined, alone: readonly Setting[]): string {
  if (before === undefined) return tomlLines([...alone, ...settings()]);
  const { storage } = tomlOf(path, before) as { storage?: { driver?: string } };
  const driver = storage?.driver;
  if (driver !== undefined && driver !== '' && driver !== 'overlay') {
    throw new UserError(
      `${path} has the driver "${driver}", whose images and containers another does not see: make it driver = "overlay", and run this again`,
    );
  }
  return withSettings(path, before, [...alone.slice(0, 1), ...settings()]);
}

export const podman = target({
  name: 'podman',
  about: 'Be the storage of podman, buildah and CRI-O: mount_program in storage.conf',
  flags: {
    user: { kind: 'bool', help: "For this user's podman: ~/.config/containers/storage.conf" },
  },
  plan({ user }) {
    if (!user && euid() !== 0) {
      throw new UserError(
        'the storage.conf of the machine is written by root: run it as root, or with --user',
      );
    }
    if (user && euid() === 0) {
      throw new UserError('root has the storage.conf of the machine: leave --user out');
    }
    const directory = user ? join(configHome(), 'containers') : SYSTEM;
    const path = join(directory, 'storage.conf');
    const alone = user ? USER : ROOT;
    return {
      files: [],
      edits: [
        {
          path,
          edit: (before) => edit(path, before, alone),
          lines: tomlLines([...alone.slice(0, 1), ...settings()]),
        },
      ],
      directories: [directory],
      notes: ['containers that run keep the mounts they have; new mounts are made by stratafs'],
    };
  },
});
