/** `--foreground`: serves one mount in this process, until it is unmounted or told to end. */
import { closeSync, unlinkSync, writeSync } from 'node:fs';
import { E, UserError } from '../base/errno.js';
import { writeLine } from '../sys/log.js';
import { loadNative } from '../sys/native.js';
import { deferred } from '../base/deferred.js';
import { checkGiven } from './device.js';
import { Mounts } from './mounts.js';
import type { MountPlan } from '../options/plan.js';
import { errnoOf } from '../sys/paths.js';
import { ownSocket } from '../wire/sockets.js';
import { buildId, installRoot } from '../sys/installed.js';
import { describeSelf } from './self.js';
import { MountServer } from './server.js';

/** A descriptor for what becomes of the mount: who waits for that gives us no stderr (launcher_behind.cc). */
const REPORT_FD = 'STRATAFS_REPORT_FD';
const LIVE = '+';

function report(text: string): void {
  const fd = Number(process.env[REPORT_FD] ?? '0');
  if (fd <= 2) return;
  try {
    writeSync(fd, text);
    closeSync(fd);
  } catch {
    // EPIPE: who started this is gone, and has no use for an answer.
  }
}

/** Mounts, serves and ends the process: with 0 once unmounted, with 1 when the mount does not come up. */
export async function serveForeground(plan: MountPlan): Promise<never> {
  const native = loadNative();
  native.raiseNofile();
  const log = (line: string): void => {
    writeLine(`stratafs: ${line}`);
  };
  const done = deferred();
  const self = describeSelf(installRoot(), buildId(), '', 'foreground');
  const mounts = new Mounts(
    native,
    self,
    () => {
      if (mounts.size === 0) done.resolve();
    },
    log,
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      void mounts.unmountAll().then(done.resolve);
    });
  }
  for (const note of plan.notes) log(note);
  try {
    if (plan.givenFd !== undefined) checkGiven(native, plan.givenFd);
    await mounts.mount(plan);
  } catch (error) {
    const failed = error instanceof UserError ? error.message : String(error);
    log(failed);
    report(failed);
    return native.exitNow(1);
  }
  report(LIVE);
  const socket = ownSocket();
  const server = new MountServer(native, mounts, {
    self,
    onQuiet: () => undefined,
    log,
  });
  if (socket !== '') {
    // One of an earlier process with this pid, which was killed.
    removeSocket(socket, log);
    server.listen({ path: socket });
  }
  await done.promise;
  server.close();
  await mounts.stop();
  if (socket !== '') removeSocket(socket, log);
  return native.exitNow(0);
}

function removeSocket(path: string, log: (line: string) => void): void {
  try {
    unlinkSync(path);
  } catch (error) {
    // ENOENT: there was none, or closing the server has removed it.
    const errno = errnoOf(error);
    if (errno !== E.ENOENT) log(`cannot remove ${path}: errno ${errno}`);
  }
}
