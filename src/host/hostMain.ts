/**
 * The resident host: serves all mounts of its place (wire/sockets.ts) and ends a grace time after the
 * last. Started by the launcher as `node hostStart.cjs SOCKET`, with standard streams on /dev/null
 * and the log, descriptor 3 listening on SOCKET and descriptor 4 holding the host's lock: the lock
 * goes with the process, so there is never more than one host.
 */
import { statSync, unlinkSync } from 'node:fs';
import { E, errnoName } from '../base/errno.js';
import { writeLine } from '../sys/log.js';
import { loadNative } from '../sys/native.js';
import { Mounts } from './mounts.js';
import { errnoOf } from '../sys/paths.js';
import { MountServer } from './server.js';

const SOCKET_FD = 3;
/** Who started the host is about to ask; if that never comes, the host must not stay. */
const FIRST_REQUEST_MS = 10_000;

const path = process.argv[2];
if (!path) {
  writeLine('stratafs: the launcher starts this program: run stratafs instead');
  process.exit(1);
}

const log = (line: string): void => {
  writeLine(`${new Date().toISOString()} ${line}`);
};

const graceMs = ((): number => {
  const seconds = Number(process.env['STRATAFS_GRACE'] ?? '5');
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : 5000;
})();

const native = loadNative();
native.raiseNofile();

let ending = false;
let timer: NodeJS.Timeout | undefined;

/** Ends the host when nothing is mounted, asked for or on the way for `ms`. */
function restAfter(ms: number): void {
  clearTimeout(timer);
  if (ending) return;
  timer = setTimeout(() => {
    if (mounts.size === 0 && server.connections === 0) void end();
  }, ms);
}

async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  clearTimeout(timer);
  // First the name, then the socket: whoever still connects is cut off and starts the next host,
  // which waits for our lock.
  remove(path);
  server.close();
  try {
    await mounts.unmountAll();
    await mounts.stop();
  } catch (error) {
    log(`while ending: ${String(error)}`);
  }
  if (isEmpty(path.replace(/sock$/, 'log'))) remove(path.replace(/sock$/, 'log'));
  // Last, as it is what keeps the next host waiting (the launcher checks that its lock has a name).
  remove(path.replace(/sock$/, 'lock'));
  // Threads of mounts that are still held open sit in a read; nothing is left to wait for.
  native.exitNow(0);
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

function isEmpty(file: string): boolean {
  try {
    return statSync(file).size === 0;
  } catch (error) {
    errnoOf(error);
    return false;
  }
}

const rest = (): void => {
  restAfter(graceMs);
};
const mounts = new Mounts(native, rest, log);
const server = new MountServer(native, mounts, { takesMounts: true, onQuiet: rest, log });

process.on('SIGHUP', () => undefined);
process.on('SIGTERM', () => void end());
process.on('SIGINT', () => void end());
// Other people's containers run on this process: one lost request is less than all mounts.
process.on('uncaughtException', (error) => {
  log(`uncaught: ${error.stack ?? error.message}`);
});
process.on('unhandledRejection', (reason) => {
  log(`unhandled rejection: ${reason instanceof Error ? (reason.stack ?? '') : String(reason)}`);
});

server.listen({ fd: SOCKET_FD });
restAfter(Math.max(graceMs, FIRST_REQUEST_MS));
