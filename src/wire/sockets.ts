/**
 * Where the processes that serve mounts listen. native/launcher_host.cc computes the same names; a
 * test compares them. One place per user, user namespace, mount namespace and root directory: what
 * differs in one of these cannot see the same paths with the same rights.
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

function key(): string {
  const root = statSync('/', { bigint: true });
  const namespaces = `${inode('/proc/self/ns/user')}-${inode('/proc/self/ns/mnt')}`;
  return `host-${euid()}-${namespaces}-${root.dev}-${root.ino}`;
}

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

/** The directory of our sockets and the beginning of their names; throws UserError when there is none. */
function place(): { directory: string; name: string } {
  const name = key();
  for (const directory of candidates()) {
    const longest = `${directory}/${name}.sock`;
    if (longest.length <= MAX_SOCKET_PATH && usable(directory)) return { directory, name };
  }
  throw new UserError(
    `no place for a socket: ${candidates().at(-1)} is not a directory of yours alone; set XDG_RUNTIME_DIR to one`,
  );
}

/** The resident host's socket. */
export function hostSocket(): string {
  const { directory, name } = place();
  return `${directory}/${name}.sock`;
}

/** The socket of a process that serves a mount of its own (--foreground). */
export function ownSocket(): string {
  const { directory, name } = place();
  const path = `${directory}/${name}-${process.pid}.sock`;
  // The pid adds a few characters; without room the mount is served, only not listed.
  return path.length <= MAX_SOCKET_PATH ? path : '';
}

/** All sockets at which mounts of this place may be served, the host's first. */
export function allSockets(): string[] {
  const { directory, name } = place();
  return readdirSync(directory)
    .filter(
      (file) => file === `${name}.sock` || (file.startsWith(`${name}-`) && file.endsWith('.sock')),
    )
    .sort((a, b) => a.length - b.length)
    .map((file) => `${directory}/${file}`);
}

/** The working directory as bytes (latin1). */
export const workingDirectory = (): string =>
  readlinkSync('/proc/self/cwd', { encoding: 'latin1' });
