/**
 * Mounting and unmounting for a trial, so that nothing is left whatever the driver does. `Room` says
 * in which namespaces.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROBE, type Driver, type Fixture, type MountOptions, type Mounted } from './types.js';

const MOUNT_TIMEOUT_MS = 30_000;
const UNMOUNT_TIMEOUT_MS = 20_000;
const SERVER_EXIT_MS = 5_000;

interface Place {
  readonly upper: string;
  readonly work: string;
  readonly mountpoint: string;
}

/** Where a trial's mounts and clients live. */
export interface Room {
  readonly client: string;
  /** The command line that enters the namespaces; empty: our own. */
  readonly enter: readonly string[];
  /** A process that lives there. */
  readonly holder: number | 'self';
}

function runIn(room: Room, command: readonly string[], timeout: number) {
  const [program = '', ...args] = [...room.enter, ...command];
  return spawnSync(program, args, { cwd: '/', encoding: 'utf8', timeout, killSignal: 'SIGKILL' });
}

/** Mounts in `place` (made here); throws with the command's own words when it fails. */
export function mountTree(
  room: Room,
  driver: Driver,
  fixture: Fixture,
  place: string,
  options: MountOptions,
): Mounted {
  const where = {
    upper: join(place, 'upper'),
    work: join(place, 'work'),
    mountpoint: join(place, 'mnt'),
  };
  for (const directory of Object.values(where)) mkdirSync(directory, { recursive: true });
  const command = fill(driver.command ?? [], options.lowers ?? fixture.lowers, where, options);
  const errors = join(place, 'mount.stderr');
  const probe = join(where.mountpoint, PROBE);
  const how = [options.cwd ?? '/', 'mount', driver.server, probe, String(MOUNT_TIMEOUT_MS), errors];
  const result = runIn(room, [room.client, ...how, ...command], MOUNT_TIMEOUT_MS + 5_000);
  if (result.status !== 0) {
    detach(room, where.mountpoint);
    const words = existsSync(errors) ? readFileSync(errors, 'utf8').trim() : '';
    const all = [words, result.stderr.trim()].filter((text) => text !== '').join('; ');
    throw new Error(`cannot mount: ${all || 'the command failed without a word'}`);
  }
  const { ns, pid } = JSON.parse(result.stdout) as { ns: number; pid: number };
  const connection = fuseConnection(room, where.mountpoint);
  const servers = connection === undefined ? [] : holdersOf(connection);
  if (pid > 0 && !servers.includes(pid)) servers.push(pid);
  return { mountpoint: where.mountpoint, upper: where.upper, ns, connection, servers };
}

/** After a failure: what the command may have mounted goes, and with it the server's reason to live. */
function detach(room: Room, mountpoint: string): void {
  if (isMounted(room, mountpoint)) runIn(room, ['umount', '-l', mountpoint], UNMOUNT_TIMEOUT_MS);
}

function fill(
  command: readonly string[],
  lowers: readonly string[],
  place: Place,
  options: MountOptions,
): string[] {
  const lower = lowers.join(':');
  const upperOptions =
    options.readOnly === true ? '' : `,upperdir=${place.upper},workdir=${place.work}`;
  const extra = options.extra === undefined ? '' : `,${options.extra}`;
  const branches = [`${place.upper}=RW`, ...lowers.map((layer) => `${layer}=RO`)];
  const values: Record<string, string> = {
    opts: `lowerdir=${lower}${upperOptions}${extra}`,
    lower,
    branches: branches.join(':'),
    upper: place.upper,
    work: place.work,
    mnt: place.mountpoint,
  };
  return command.map((word) =>
    word.replace(/\{(\w+)\}/g, (whole, key: string) => values[key] ?? whole),
  );
}

/** The connection's number is the minor device number of the mount; mountinfo tells it without asking the server. */
function fuseConnection(room: Room, mountpoint: string): number | undefined {
  for (const line of mountTable(room).split('\n')) {
    const [fields = '', tail = ''] = line.split(' - ');
    const [, , device = '', , at] = fields.split(' ');
    if (at === mountpoint && tail.startsWith('fuse')) return Number(device.split(':')[1]);
  }
  return undefined;
}

function mountTable(room: Room): string {
  return readFileSync(`/proc/${room.holder}/mountinfo`, 'latin1');
}

function isMounted(room: Room, mountpoint: string): boolean {
  return mountTable(room).includes(` ${mountpoint} `);
}

/** Processes with a descriptor of the connection: the kernel names it in fdinfo (since 6.15). */
function holdersOf(connection: number): number[] {
  const holders: number[] = [];
  for (const pid of readdirSync('/proc')) {
    if (/^\d+$/.test(pid) && holds(pid, connection)) holders.push(Number(pid));
  }
  return holders;
}

function holds(pid: string, connection: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some(
      (fd) =>
        readlinkSync(`/proc/${pid}/fd/${fd}`) === '/dev/fuse' &&
        new RegExp(`^fuse_connection:\\s*${connection}$`, 'm').test(
          readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'),
        ),
    );
  } catch (error) {
    // The process, or one of its descriptors, was gone before we looked (ENOENT, ESRCH), or it is
    // none of ours: a guarded process lets nobody look (EACCES, EPERM).
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(code)) return false;
    throw error;
  }
}

/** Unmounts, waits for the server's end (unless it is resident), and ends what does not. */
export async function unmountTree(room: Room, driver: Driver, mounted: Mounted): Promise<void> {
  if (isMounted(room, mounted.mountpoint)) {
    const result = runIn(room, ['umount', mounted.mountpoint], UNMOUNT_TIMEOUT_MS);
    if (result.status !== 0) {
      endServers(mounted.servers, 'SIGKILL');
      detach(room, mounted.mountpoint);
      throw new Error(`cannot unmount: ${result.stderr.trim() || 'no answer in time'}`);
    }
  }
  if (driver.resident === true) return;
  if (driver.server === 'stays') endServers(mounted.servers, 'SIGTERM');
  const deadline = Date.now() + SERVER_EXIT_MS;
  while (mounted.servers.some(isAlive)) {
    if (Date.now() > deadline) {
      endServers(mounted.servers, 'SIGKILL');
      return;
    }
    await sleep(10);
  }
}

function isAlive(pid: number): boolean {
  try {
    // A zombie is dead; whoever adopted it reaps it.
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return false;
    throw error;
  }
}

export function endServers(servers: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of servers) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      // ESRCH: it has ended by itself.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
