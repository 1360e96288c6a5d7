/** Lists the processes that serve mounts, for commands that manage them. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../base/errno.js';
import type { Done, HostInfo, Request } from '../wire/control.js';
import { NoAnswer, request } from '../wire/request.js';
import { allSockets, everySocket, mountNamespace } from '../wire/sockets.js';

/** How long a host may take to unmount all it has. */
const END_MS = 60_000;
const STEP_MS = 50;

export interface Found {
  readonly socket: string;
  readonly info: HostInfo;
  /** It serves this mount namespace. */
  readonly here: boolean;
}

/** Hosts of this user; `all`: also those that serve other namespaces. */
export async function findHosts(
  all: boolean,
): Promise<{ readonly hosts: readonly Found[]; readonly silent: readonly string[] }> {
  const hosts: Found[] = [];
  const silent: string[] = [];
  const namespace = mountNamespace();
  await Promise.all(
    (all ? everySocket() : allSockets()).map(async (socket) => {
      try {
        const info = (await request(socket, { query: 'host' })) as HostInfo | undefined;
        if (info) hosts.push({ socket, info, here: info.namespace === namespace });
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
        silent.push(socket);
      }
    }),
  );
  return { hosts: hosts.sort((a, b) => a.info.pid - b.info.pid), silent };
}

/** Throws UserError with the host's sentence. A host that stops has ended when this resolves. */
export async function tellHost(
  { socket, info }: Found,
  what: Extract<Request, { readonly host: string }>,
): Promise<void> {
  const done = (await request(socket, what)) as Done | undefined;
  if (done && done.code !== 0) throw new UserError(done.stderr.trim().replace(/^stratafs: /, ''));
  if (what.host === 'retire') return;
  for (let waited = 0; existsSync(`/proc/${info.pid}`) && waited < END_MS; waited += STEP_MS) {
    await sleep(STEP_MS);
  }
}
