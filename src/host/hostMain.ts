/**
 * The resident host: serves all mounts of those who could do the same by themselves, and ends a grace
 * time after the last. The launcher starts it as `node hostStart.cjs SOCKET`, with standard streams on
 * /dev/null and the log, descriptor 3 listening on SOCKET and descriptor 4 holding the host's lock:
 * the lock goes with the process, so there is never more than one host of a name. Systemd runs it
 * without SOCKET: then the socket is systemd's, and so is the next start.
 */
import { access, close, renameSync, unlinkSync } from 'node:fs';
import { E, errnoName } from '../base/errno.js';
import { logLine, writeLine } from '../sys/log.js';
import { loadNativeForAll } from '../sys/native.js';
import { errnoOf } from '../sys/paths.js';
import { removeCgroups } from './cgroups.js';
import { tidyPlace } from './leftBehind.js';
import { Mounts } from './mounts.js';
import { describeSelf } from './self.js';
import { MountServer } from './server.js';

const SOCKET_FD = 3;
const LOCK_FD = 4;
/** Who started the host is about to ask; if that never comes, the host must not stay. */
const FIRST_REQUEST_MS = 10_000;
const TIDY_AFTER_MS = 2000;

/** What the launcher says; not for the programs that we start. */
function told(name: string): string {
  const value = process.env[`STRATAFS_HOST_${name}`] ?? '';
  Reflect.deleteProperty(process.env, `STRATAFS_HOST_${name}`);
  return value;
}

const socket = process.argv[2] as string | undefined;
const [identity, build, root] = [told('IDENTITY'), told('BUILD'), told('ROOT')];
if (socket === undefined || identity === '') {
  writeLine('stratafs: the launcher starts this program: run stratafs instead');
  process.exit(1);
}
/** Where the socket is now; empty when it is systemd's. */
let path = socket;
const base = socket.replace(/\.sock$/, '');

/** The journal knows when, and who. */
const log = (line: string): void => {
  logLine(socket === '' ? line : `${new Date().toISOString()} [${process.pid}] ${line}`);
};

const graceMs = ((): number => {
  const seconds = Number(process.env['STRATAFS_GRACE'] ?? '5');
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : 5000;
})();

const native = loadNativeForAll();
native.raiseNofile();
const self = describeSelf(root, build, identity, socket === '' ? 'systemd' : 'launcher');
log(`host ${self.version} (build ${build}) of ${root} started`);

let ending = false;
let retired = false;
let timer: NodeJS.Timeout | undefined;

/** Ends the host when nothing is mounted, asked for or on the way for `ms`. */
function restAfter(ms: number): void {
  clearTimeout(timer);
  if (ending) return;
  timer = setTimeout(() => {
    if (mounts.size === 0 && server.connections === 0) void end('nothing is mounted');
  }, ms);
}

async function end(why: string): Promise<void> {
  if (ending) return;
  ending = true;
  clearTimeout(timer);
  // First the name, then the socket: whoever still connects is cut off and starts the next host,
  // which waits for our lock.
  if (path !== '') remove(path);
  server.close();
  try {
    await mounts.unmountAll();
    await mounts.stop();
    if (path !== '') await tidyPlace(native, base);
  } catch (error) {
    log(`while ending: ${String(error)}`);
  }
  log(`host ended: ${why}`);
  // Last, as it is what keeps the next host waiting (the launcher checks that its lock has a name).
  if (path !== '' && !retired) remove(`${base}.lock`);
  removeCgroups();
  // Threads of mounts that are still held open sit in a read; nothing is left to wait for.
  native.exitNow(0);
}

/**
 * The next mount gets another host; ours go on. The socket keeps answering under another name. One of
 * systemd's cannot be given away: who comes is sent on, until the last mount ends.
 */
function retire(): void {
  if (retired) return;
  retired = true;
  log('host retired: it takes no more mounts');
  if (path !== '') {
    const own = `${base}-${process.pid}.sock`;
    renameSync(path, own);
    path = own;
    remove(`${base}.lock`);
    close(LOCK_FD);
  }
  restAfter(0);
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    // ENOENT: somebody tidied up, or closing the server did.
    const errno = errnoOf(error);
    if (errno !== E.ENOENT) log(`cannot remove ${file}: ${errnoName(errno)}`);
  }
}

const rest = (): void => {
  restAfter(retired ? 0 : graceMs);
};
const mounts = new Mounts(native, self, rest, log);
const server = new MountServer(native, mounts, {
  self,
  onQuiet: rest,
  log,
  control: { retired: () => retired, retire, stop: () => void end('it was told to') },
});

process.on('SIGHUP', () => undefined);
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => void end(signal));
}
// Other people's containers run on this process: one lost request is less than all mounts.
process.on('uncaughtException', (error) => {
  log(`uncaught: ${error.stack ?? error.message}`);
});
process.on('unhandledRejection', (reason) => {
  log(`unhandled rejection: ${reason instanceof Error ? (reason.stack ?? '') : String(reason)}`);
});

// Libuv ends the process when its pool cannot be started, so that is done while nothing is mounted.
access('/', () => undefined);
server.listen({ fd: SOCKET_FD });
restAfter(Math.max(graceMs, FIRST_REQUEST_MS));
if (path !== '') setTimeout(() => void tidyPlace(native, base), TIDY_AFTER_MS).unref();
