/** `stratafs host`: the processes that serve mounts. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import { type Found, findHosts, tellHost } from '../client/hosts.js';
import { print, say } from './frame/output.js';

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
