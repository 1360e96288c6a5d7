/**
 * A directory that another process serves a mount of: a host of another build, of other rights or of
 * another mount namespace. One that is detached there gives it up; of every other it is said who has it.
 */
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import { errnoOf, type FileId } from '../sys/paths.js';
import type { Done, MountInfo } from '../wire/control.js';
import { request } from '../wire/request.js';
import { everySocket, mountNamespace } from '../wire/sockets.js';

/** It writes what the kernel holds of the mount first. */
const FREE_MS = 70_000;

interface Found {
  readonly socket: string;
  readonly mount: MountInfo;
}

/**
 * Ends the detached mounts of other hosts that change directory `id`. Returns who has it still, for a
 * sentence, as far as that is known.
 */
export async function freeElsewhere(id: FileId): Promise<string | undefined> {
  for (const { socket, mount } of await usersOf(id)) {
    const why = await free(socket, mount.device);
    if (why !== undefined) return `${nameOf(mount)}: ${why}`;
  }
  return lockHolder(id);
}

async function usersOf(id: FileId): Promise<Found[]> {
  const answers = await Promise.all(
    everySocket().map(async (socket) => {
      // One that is stopped says nothing.
      const mounts = (await request(socket, { query: 'mounts' }).catch((error: unknown) => {
        if (error instanceof UserError) return undefined;
        throw error;
      })) as MountInfo[] | undefined;
      return (mounts ?? []).map((mount) => ({ socket, mount }));
    }),
  );
  return answers
    .flat()
    .filter(({ mount }) => mount.pid !== process.pid && [mount.upperId, mount.workId].includes(id));
}

/** Why it does not; undefined when it does. */
async function free(socket: string, device: string): Promise<string | undefined> {
  try {
    const done = (await request(socket, { free: device }, FREE_MS)) as Done | undefined;
    if (!done || done.code === 0) return undefined;
    return done.stderr.trim().replace(/^stratafs: /, '');
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

function nameOf({ pid, namespace, version }: MountInfo): string {
  const where = namespace === mountNamespace() ? '' : ` in mount namespace ${namespace}`;
  return `another live mount, of host ${pid} (stratafs ${version}${where})`;
}

/** The process that holds flock(2) on a directory, by /proc/locks; undefined where it does not tell. */
function lockHolder(id: FileId): string | undefined {
  const [dev = 0n, ino = 0n] = id.split(':').filter(Boolean).map(BigInt);
  const [major, minor] = [
    ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n),
    (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n),
  ];
  const hex = (number: bigint): string => number.toString(16).padStart(2, '0');
  const wanted = `${hex(major)}:${hex(minor)}:${ino}`;
  for (const line of readFileSync('/proc/locks', 'latin1').split('\n')) {
    const [, kind, , , pid, file] = line.trim().split(/\s+/);
    if (kind === 'FLOCK' && file === wanted) return describeProcess(Number(pid));
  }
  return undefined;
}

function describeProcess(pid: number): string | undefined {
  // 0: of another process ID namespace.
  if (!(pid > 0) || pid === process.pid) return undefined;
  try {
    const { uid } = statSync(`/proc/${pid}`);
    const name = readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
    return `process ${pid} (${display(name)} of user ${uid}${namespaceOf(pid)})`;
  } catch (error) {
    // It has ended.
    errnoOf(error);
    return undefined;
  }
}

function namespaceOf(pid: number): string {
  try {
    const number = /\d+/.exec(readlinkSync(`/proc/${pid}/ns/mnt`))?.[0] ?? '';
    return number === mountNamespace() ? '' : `, mount namespace ${number}`;
  } catch (error) {
    // EACCES: another user's.
    errnoOf(error);
    return '';
  }
}
