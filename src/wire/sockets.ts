/**
 * Finds the sockets of the processes that serve mounts: DIRECTORY/PREFIX-*.sock. native/launcher_place.cc
 * computes the same directory and prefix (a test compares them).
 *
 * The prefix encodes user, user namespace and mount namespace. The rest of the name is a hash of the
 * launcher's rights and its build, which only the launcher computes. DIRECTORY/unit.sock belongs to a host
 * that systemd runs.
 */
import { lstatSync, mkdirSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { E, UserError } from '../base/errno.js';
import { uidMap } from '../sys/userns.js';
import { errnoOf } from '../sys/paths.js';

/** sizeof(sockaddr_un.sun_path) less the NUL. */
const MAX_SOCKET_PATH = 107;

function inode(path: string): string {
  try {
    return String(statSync(path, { bigint: true }).ino);
  } catch (error) {
    errnoOf(error);
    return '0';
  }
}

export const euid = (): number => process.geteuid?.() ?? 0;

/** The inode number of this process's mount namespace. */
export const mountNamespace = (): string => inode('/proc/self/ns/mnt');

const prefix = (): string => `host-${euid()}-${inode('/proc/self/ns/user')}-${mountNamespace()}`;

/** The user outside the user namespace: root inside has a place of its own for each of them. */
function outerUser(): number {
  const own = euid();
  const ranges = uidMap().find(({ inside, count }) => own >= inside && own < inside + count);
  return ranges ? ranges.outside + own - ranges.inside : own;
}

function candidates(): string[] {
  const runtime = process.env['XDG_RUNTIME_DIR'] ?? '';
  return [
    ...(euid() === 0 ? ['/run/stratafs'] : []),
    ...(runtime.startsWith('/') ? [`${runtime}/stratafs`] : []),
    `/tmp/stratafs-${outerUser()}`,
  ];
}

/** Ours alone: a directory that others can write to would let them answer in the host's place. */
function usable(directory: string): boolean {
  try {
    mkdirSync(directory, 0o700);
  } catch (error) {
    if (errnoOf(error) !== E.EEXIST) return false;
  }
  const info = lstatSync(directory);
  return info.isDirectory() && info.uid === euid() && (info.mode & 0o022) === 0;
}

/** The longest rest of a name. */
const LONGEST_REST = '-0123456789abcdef-4194304.sock'.length;

/** The directory of our sockets and the beginning of their names; throws UserError when there is none. */
export function place(): { readonly directory: string; readonly prefix: string } {
  const name = prefix();
  for (const directory of candidates()) {
    const longest = directory.length + 1 + name.length + LONGEST_REST;
    if (longest <= MAX_SOCKET_PATH && usable(directory)) return { directory, prefix: name };
  }
  throw new UserError(
    `no place for a socket: ${candidates().at(-1)} is not a directory of yours alone; set XDG_RUNTIME_DIR to one`,
  );
}

/** The socket of a process that serves a mount of its own (--foreground). */
export function ownSocket(): string {
  const { directory, prefix: name } = place();
  return `${directory}/${name}-fg-${process.pid}.sock`;
}

/** The process whose end makes a socket of this name useless: one of --foreground, or a retired host. */
export function socketOwner(path: string): number | undefined {
  const pid = /-(?:fg|[0-9a-f]{16})-(\d+)\.sock$/.exec(path)?.[1];
  return pid === undefined ? undefined : Number(pid);
}

/** All sockets at which mounts of this place may be served. */
export function allSockets(): string[] {
  const { directory, prefix: name } = place();
  return socketsIn(directory).filter(
    (path) => path === `${directory}/unit.sock` || path.startsWith(`${directory}/${name}-`),
  );
}

/** The same, and those of hosts in other namespaces. */
export const everySocket = (): string[] => socketsIn(place().directory);

const socketsIn = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.sock'))
    .sort((a, b) => a.length - b.length)
    .map((name) => `${directory}/${name}`);

/** The working directory as bytes (latin1); empty when it cannot be read, or was removed. */
export function workingDirectory(): string {
  try {
    process.cwd();
    return readlinkSync('/proc/self/cwd', { encoding: 'latin1' });
  } catch {
    return '';
  }
}
