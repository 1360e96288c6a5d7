/**
 * Mounting through the resident host without a process in between. The host that may act for this
 * process is found by asking: each says whether it does. Only where none runs does the launcher start
 * one.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { buildId, nativeFile } from '../sys/installed.js';
import type { Done, HostInfo } from '../wire/control.js';
import { NoAnswer, request } from '../wire/request.js';
import { allSockets, socketOwner } from '../wire/sockets.js';
import { StratafsError, withoutHints } from './failure.js';

const run = promisify(execFile);

/** The layers are opened and the kernel says INIT: milliseconds, but a disk may be slow. */
const MOUNT_MS = 120_000;
/** A host that is about to end refuses; the next try has a new one. */
const TRIES = 3;

/** The socket that served last: with many hosts, the others need not be asked. */
let last: string | undefined;

/** Sockets of resident hosts of this build. */
async function hosts(build: string): Promise<string[]> {
  const sockets = allSockets().filter((socket) => socketOwner(socket) === undefined);
  const answers = await Promise.all(
    sockets.map((socket) =>
      request(socket, { query: 'host' }).catch((error: unknown) => {
        // Stopped: it serves nobody now.
        if (error instanceof NoAnswer) return undefined;
        throw error;
      }),
    ),
  );
  return sockets.filter((_, i) => {
    const info = answers[i] as Partial<HostInfo> | undefined;
    return info?.build === build && info.retired === false;
  });
}

/** True when a host that may act for this process has done it. Throws StratafsError when it refuses. */
async function ask(socket: string, argv: readonly string[], build: string): Promise<boolean> {
  const answer = (await request(socket, { argv, cwd: '/', build }, MOUNT_MS)) as Done | undefined;
  if (!answer || answer.other !== undefined) return false;
  last = socket;
  if (answer.code === 0) return true;
  const message = answer.stderr.trim().replace(/^stratafs: /, '');
  throw new StratafsError('ERR_REFUSED', withoutHints(message));
}

async function tryAll(argv: readonly string[], build: string): Promise<boolean> {
  if (last !== undefined && (await ask(last, argv, build))) return true;
  for (const socket of await hosts(build)) {
    if (await ask(socket, argv, build)) return true;
  }
  return false;
}

async function startHost(): Promise<void> {
  try {
    await run(nativeFile('stratafs'), ['host', 'start']);
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const message = withoutHints(said.replace(/^stratafs: /, ''));
    throw new StratafsError('ERR_HOST', message || 'the host cannot be started', { cause: error });
  }
}

/** Mounts; `argv` as on a command line, with absolute paths (latin1). Rejects with StratafsError. */
export async function mountByHost(argv: readonly string[]): Promise<void> {
  const build = buildId();
  for (let tries = 0; tries < TRIES; tries++) {
    if (await tryAll(argv, build)) return;
    await startHost();
  }
  if (await tryAll(argv, build)) return;
  throw new StratafsError('ERR_HOST', 'no host serves this process: it has rights that differ');
}
