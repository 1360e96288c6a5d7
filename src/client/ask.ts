/** Asks the processes that serve mounts, over their sockets. Nothing here touches a mount. */
import { existsSync, unlinkSync } from 'node:fs';
import { UserError } from '../base/errno.js';
import type { MountStats } from '../wire/stats.js';
import { errnoOf } from '../sys/paths.js';
import { allSockets, mountNamespace, socketOwner } from '../wire/sockets.js';
import type { Done, MountInfo } from '../wire/control.js';
import { NoAnswer, request } from '../wire/request.js';

/** An engine may be busy. */
const STATS_MS = 30_000;

/** A live mount and where its server listens. */
export interface Served extends MountInfo {
  readonly socket: string;
}

/** What the processes that serve mounts say. */
interface Asked {
  readonly mounts: readonly Served[];
  /** Sockets of processes that run and do not answer: they are stopped. */
  readonly silent: readonly string[];
}

/** Asks for every live mount of this user in this mount namespace. */
export async function askForMounts(): Promise<Asked> {
  const here = mountNamespace();
  const silent: string[] = [];
  const answers = await Promise.all(
    allSockets().map(async (socket) => {
      const mounts = (await request(socket, { query: 'mounts' }).catch((error: unknown) => {
        if (!(error instanceof NoAnswer)) throw error;
        silent.push(socket);
        return [];
      })) as MountInfo[] | undefined;
      if (!mounts) removeStale(socket);
      return (mounts ?? [])
        .filter(({ namespace }) => namespace === here)
        .map((mount): Served => ({ ...mount, socket }));
    }),
  );
  return { mounts: answers.flat(), silent };
}

/** Every live mount of this user in this mount namespace whose server answers. */
export const liveMounts = async (): Promise<readonly Served[]> => (await askForMounts()).mounts;

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
  const query = { query: 'stats', device: mount.device } as const;
  const answer = (await request(mount.socket, query, STATS_MS)) as
    | MountStats
    | Done
    | null
    | undefined;
  if (answer && 'stderr' in answer) {
    throw new UserError(answer.stderr.trim().replace(/^stratafs: /, ''));
  }
  return answer ?? undefined;
}
