/** Asking the processes that serve mounts, over their sockets; nothing here touches a mount. */
import { existsSync, unlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { UserError } from '../base/errno.js';
import type { MountStats } from '../wire/stats.js';
import { errnoOf } from '../sys/paths.js';
import { allSockets, mountNamespace, socketOwner } from '../wire/sockets.js';
import type { MountInfo, Request } from '../wire/control.js';

const TIMEOUT_MS = 30_000;

/** A live mount and where its server listens. */
export interface Served extends MountInfo {
  readonly socket: string;
}

/** One request, one answer; undefined when nobody listens there (any more). */
export async function request(socketPath: string, what: Request): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath);
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(TIMEOUT_MS, () => {
      socket.destroy(new Error(`no answer from ${socketPath}`));
    });
    socket.on('connect', () => {
      socket.write(`${JSON.stringify(what)}\n`);
    });
    socket.on('data', (part: string) => {
      text += part;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const gone = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(error.code ?? '');
      if (gone) resolve(undefined);
      else reject(error);
    });
    socket.on('close', () => {
      if (text === '') resolve(undefined);
      else settle(text, resolve, reject);
    });
  });
}

/** An answer that ends too early is the end of who gave it. */
function settle(
  text: string,
  resolve: (answer: unknown) => void,
  reject: (reason: UserError) => void,
): void {
  try {
    resolve(JSON.parse(text));
  } catch (error) {
    reject(new UserError('the host ended within its answer: try again', { cause: error }));
  }
}

/** Every live mount of this user in this mount namespace. */
export async function liveMounts(): Promise<Served[]> {
  const here = mountNamespace();
  const answers = await Promise.all(
    allSockets().map(async (socket) => {
      const mounts = (await request(socket, { query: 'mounts' })) as MountInfo[] | undefined;
      if (!mounts) removeStale(socket);
      return (mounts ?? [])
        .filter(({ namespace }) => namespace === here)
        .map((mount): Served => ({ ...mount, socket }));
    }),
  );
  return answers.flat();
}

/**
 * Removes the socket of a process that was killed. A host's own name stays: only who holds the host's
 * lock may replace it.
 */
function removeStale(socket: string): void {
  const pid = socketOwner(socket);
  if (pid === undefined || existsSync(`/proc/${pid}`)) return;
  try {
    unlinkSync(socket);
  } catch (error) {
    // ENOENT: another command was faster. Anything else is no reason not to answer this one.
    errnoOf(error);
  }
}

/** Counters of a live mount; undefined when it has ended. */
export async function mountStats(
  mount: Pick<Served, 'socket' | 'device'>,
): Promise<MountStats | undefined> {
  const answer = await request(mount.socket, { query: 'stats', device: mount.device });
  return (answer as MountStats | null | undefined) ?? undefined;
}
