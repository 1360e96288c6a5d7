/** `stratafs host`: the processes that serve mounts. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import { type Found, findHosts, tellHost } from '../client/hosts.js';
import { command, type Group } from './frame/command.js';
import type { Flags } from './frame/flags.js';
import { print, say } from './frame/output.js';
import { launch } from './mount.js';

interface Options {
  readonly what: 'status' | 'restart' | 'stop';
  readonly json: boolean;
  readonly force: boolean;
  readonly all: boolean;
}

function line({ info, here }: Found): string {
  const mounts = info.mounts === 1 ? '1 mount' : `${info.mounts} mounts`;
  const state = info.retired ? ', takes no more' : '';
  const place = here ? '' : `, in mount namespace ${info.namespace}`;
  return `${info.pid} stratafs ${info.version} (build ${info.build}) in ${display(info.path)}: ${mounts}${state}, up ${info.uptime} s, run by ${info.runBy}${place}\n`;
}

/** Resolves with the exit status. */
export async function runHost({ what, json, force, all }: Options): Promise<number> {
  const { hosts, silent } = await findHosts(all || what === 'status');
  for (const socket of silent)
    say(`stratafs: the host at ${socket} does not answer: it is stopped`);
  if (what === 'status') {
    const shown = hosts.map(({ info, socket, here }) => ({ ...info, socket, here }));
    print(json ? `${JSON.stringify(shown, undefined, 2)}\n` : hosts.map(line).join(''));
    return 0;
  }
  let failed = false;
  for (const host of hosts) {
    if (host.info.runBy === 'foreground' && what === 'restart') continue;
    try {
      await tellHost(host, what === 'restart' ? { host: 'retire' } : { host: 'stop', force });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      say(`stratafs: host ${host.info.pid}: ${error.message}`);
      failed = true;
    }
  }
  return failed ? 1 : 0;
}

const ALL = {
  all: { kind: 'bool', short: 'a', help: 'Also the hosts of other mount namespaces' },
} as const satisfies Flags;

/** Who serves mounts. `host serve` is the launcher's: what systemd runs. */
export const host: Group = {
  about: 'Show, replace or stop the processes that serve mounts',
  plain: true,
  words: {
    status: () =>
      Promise.resolve(
        command({
          usage: 'host status [OPTIONS]',
          about: 'List the hosts with their versions, mounts and ages',
          flags: { ...ALL, json: { kind: 'bool', help: 'Print JSON' } },
          args: [0, 0],
          plain: true,
          run: ({ values }) =>
            runHost({ what: 'status', json: values.json, force: false, all: values.all }),
        }),
      ),
    start: () =>
      Promise.resolve(
        command({
          usage: 'host start',
          about: 'Have a host run, so that the first mount need not start it',
          flags: {},
          args: [0, 0],
          plain: true,
          run: () => Promise.resolve(launch(['host', 'start'])),
        }),
      ),
    restart: () =>
      Promise.resolve(
        command({
          usage: 'host restart [OPTIONS]',
          about: 'Have the next mount get a new host; the old one keeps the mounts it has',
          flags: ALL,
          args: [0, 0],
          plain: true,
          run: ({ values }) =>
            runHost({ what: 'restart', json: false, force: false, all: values.all }),
        }),
      ),
    stop: () =>
      Promise.resolve(
        command({
          usage: 'host stop [OPTIONS]',
          about: 'End the hosts that have no mounts',
          flags: { ...ALL, force: { kind: 'bool', help: 'Unmount what they have' } },
          args: [0, 0],
          plain: true,
          run: ({ values }) =>
            runHost({ what: 'stop', json: false, force: values.force, all: values.all }),
        }),
      ),
  },
};
