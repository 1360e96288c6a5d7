/** The units of the services that engines ask, and how systemd is told of them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../base/errno.js';
import { serviceUnit, socketUnit, type UnitSetup } from '../../driver/setup/units.js';
import { euid } from '../../wire/sockets.js';
import type { PlannedFile } from './files.js';
import { BOOTED, program } from './program.js';
import type { InstallPlan, Step } from './target.js';

const UNITS = '/etc/systemd/system';

/** Throws UserError for an ordinary user. */
export function needRoot(what: string): void {
  if (euid() !== 0) throw new UserError(`${what} is written by root: run it as root`);
}

export const socketPath = (name: string): string => join(UNITS, `${name}.socket`);

/** The parts of a plan that make `NAME.socket` and `NAME.service`, and start the socket. */
export function unitPlan(name: string, setup: Omit<UnitSetup, 'program'>): InstallPlan {
  const whole = { ...setup, program: program() };
  const files: PlannedFile[] = [
    { path: socketPath(name), content: socketUnit(whole) },
    { path: join(UNITS, `${name}.service`), content: serviceUnit(whole) },
  ];
  const told = existsSync(BOOTED);
  const steps = (...each: Step[]): Step[] => (told ? each : []);
  const socket = `${name}.socket`;
  return {
    files,
    installed: steps(
      ['systemctl', 'daemon-reload'],
      ['systemctl', 'enable', socket],
      ['systemctl', 'start', socket],
    ),
    removing: steps(
      ['systemctl', 'disable', socket],
      ['systemctl', 'stop', socket, `${name}.service`],
    ),
    removed: steps(['systemctl', 'daemon-reload']),
    notes: told
      ? []
      : [`systemd does not run here; where it does: systemctl enable --now ${socket}`],
  };
}
