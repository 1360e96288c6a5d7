/** `stratafs install service`: the host as a unit of systemd, for the system or for a user. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../base/errno.js';
import { findHosts } from '../../client/hosts.js';
import { euid } from '../../wire/sockets.js';
import { BOOTED, program } from './program.js';
import { configHome, target } from './target.js';
import { systemUnits, type Unit, userUnits } from './units.js';

/** Where packages put theirs. */
const PACKAGED = { system: '/usr/lib/systemd/system', user: '/usr/lib/systemd/user' } as const;

const flags = {
  user: { kind: 'bool', help: "For this user's own systemd, instead of the system's" },
} as const;

/** The socket of the user's manager. */
const userManager = (): string => `${process.env['XDG_RUNTIME_DIR'] ?? ''}/systemd/private`;

/** A package has brought just these: then they are only switched on. */
function arePackaged(units: readonly Unit[], directory: string): boolean {
  return units.every(({ name, content }) => {
    const path = join(directory, name);
    return existsSync(path) && readFileSync(path, 'utf8') === content;
  });
}

export const service = target({
  name: 'service',
  about: 'Run the host of mounts as a unit of systemd, in a cgroup of its own',
  flags,
  plan({ user }) {
    if (!user && euid() !== 0) {
      throw new UserError(
        'the units of the system are written by root: run it as root, or with --user',
      );
    }
    const kind = user ? 'user' : 'system';
    const units = (user ? userUnits : systemUnits)(program());
    const directory = user ? join(configHome(), 'systemd/user') : '/etc/systemd/system';
    const systemctl = user ? ['systemctl', '--user'] : ['systemctl'];
    const told = existsSync(user ? userManager() : BOOTED);
    const steps = (...each: readonly (readonly string[])[]): string[][] =>
      told ? each.map((args) => [...systemctl, ...args]) : [];
    const enable = ['enable', 'stratafs.socket'];
    return {
      files: arePackaged(units, PACKAGED[kind])
        ? []
        : units.map(({ name, content }) => ({ path: join(directory, name), content })),
      installed: steps(['daemon-reload'], enable, ['start', 'stratafs.socket']),
      removing: steps(['disable', 'stratafs.socket'], ['stop', 'stratafs.socket']),
      removed: steps(['daemon-reload']),
      notes: [
        ...(told
          ? []
          : [`systemd does not run here; where it does: ${[...systemctl, ...enable].join(' ')}`]),
        ...(user
          ? ['mounts end with your last session, unless you run: loginctl enable-linger']
          : []),
      ],
    };
  },
  async mayGo() {
    const { hosts } = await findHosts(false);
    const mounts = hosts.find(({ info }) => info.runBy === 'systemd')?.info.mounts ?? 0;
    if (mounts === 0) return;
    throw new UserError(
      `the host that systemd runs serves ${mounts} ${mounts === 1 ? 'mount' : 'mounts'}: unmount first (stratafs mounts shows them)`,
    );
  },
});
