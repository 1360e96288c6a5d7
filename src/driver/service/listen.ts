/** Unix sockets of a service: its own, or one that a service manager has opened (sd_listen_fds(3)). */
import { lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createConnection, type Server } from 'node:net';
import { dirname } from 'node:path';
import { UserError } from '../../base/errno.js';

/** The first descriptor that a service manager passes on. */
const LISTEN_FDS_START = 3;
/** sizeof(sockaddr_un.sun_path) less the NUL. */
const MAX_SOCKET_PATH = 107;

/**
 * The socket that the service manager has opened for this process; undefined without one. The
 * variables are taken away: no child shall think that they are meant for it.
 */
function inheritedSocket(environment: NodeJS.ProcessEnv = process.env): number | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) {
    Reflect.deleteProperty(environment, name);
  }
  if (pid !== String(process.pid) || count === undefined || count === '0') return undefined;
  if (count !== '1') {
    throw new UserError(`the service manager passes ${count} sockets, and this service has one`);
  }
  return LISTEN_FDS_START;
}

/** Somebody answers at `path`. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}

/** Removes a socket that a killed process has left; throws UserError when `path` is anything else. */
async function clear(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket())
    throw new UserError(`${path} is no socket: remove it, or use another path`);
  if (await isServed(path)) {
    throw new UserError(`another process listens at ${path}: end it, or use another path`);
  }
  unlinkSync(path);
}

function begin(server: Server, where: { fd: number } | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // For nobody but us: who may speak to an engine's storage is root of all its containers.
    const old = process.umask(0o177);
    server.listen(where, resolve);
    process.umask(old);
  });
}

/** Makes `server` listen at `path`, or at the socket that the service manager has passed; says which. */
export async function listen(server: Server, path: string): Promise<string> {
  const fd = inheritedSocket();
  if (fd !== undefined) {
    await begin(server, { fd });
    return 'the socket of the service manager';
  }
  if (!path.startsWith('/') || Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new UserError(
      `${path}: a socket's path is absolute and has at most ${MAX_SOCKET_PATH} bytes`,
    );
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  await clear(path);
  await begin(server, { path });
  return path;
}
