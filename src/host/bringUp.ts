/**
 * One mount on its way up: the engine opens the layers, the kernel mounts, the engine serves. What
 * fails is undone.
 */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import type { FromEngine } from '../fuse/messages.js';
import type { Native } from '../sys/native.js';
import type { Checked } from './checks.js';
import { deferred } from '../base/deferred.js';
import { detach, mountDevice } from './device.js';
import type { EngineWorker } from './engineWorker.js';
import type { DirectoryLock } from './locks.js';
import { deviceAt } from '../sys/mountTable.js';
import type { MountPlan } from '../options/plan.js';

export type Answer = Extract<FromEngine, { readonly mount: number }>;

/** The layers may be on a disk that has to spin up first; INIT itself takes microseconds. */
const STEP_TIMEOUT_MS = 90_000;

/** A mount of this process, on the way or live. */
export interface LiveMount {
  readonly number: number;
  readonly plan: MountPlan;
  readonly checked: Checked;
  readonly thread: EngineWorker;
  readonly locks: readonly DirectoryLock[];
  /** "major:minor", once mounted. */
  device: string;
  /** The next thing the engine says about this mount. */
  next: ((answer: Answer) => void) | undefined;
  readonly ended: Promise<void>;
  readonly end: () => void;
}

/** From a mount that has its thread to one that is served; throws UserError, with nothing mounted, when that fails. */
export async function bringUp(
  native: Native,
  mount: LiveMount,
  log: (line: string) => void,
): Promise<void> {
  const { number, plan, checked, thread } = mount;
  const { mountpoint } = checked;
  await thread.ready.catch((error: unknown) => {
    throw new UserError(`the engine cannot start: ${String(error)}`);
  });
  const prepared = expect(mount, 'prepared');
  thread.post({ kind: 'prepare', mount: number, spec: plan.spec });
  await prepared;
  let fd: number;
  try {
    fd = mountDevice(native, plan, mountpoint);
  } catch (error) {
    const ended = expect(mount, 'ended');
    thread.post({ kind: 'abandon', mount: number });
    await ended;
    throw error;
  }
  try {
    const live = expect(mount, 'live');
    thread.post({ kind: 'serve', mount: number, deviceFd: fd });
    await live;
  } catch (error) {
    const result = detach(native, mountpoint);
    if (result < 0) log(`cannot unmount ${display(mountpoint)}: ${errnoText(result)}`);
    throw error;
  }
  mount.device = deviceAt(mountpoint) ?? '';
}

/** The engine's next answer about `mount`, which must be of this kind; throws UserError otherwise. */
async function expect(mount: LiveMount, kind: Answer['kind']): Promise<void> {
  const { promise, resolve } = deferred<Answer | undefined>();
  mount.next = resolve;
  const timer = setTimeout(() => {
    resolve(undefined);
  }, STEP_TIMEOUT_MS);
  const answer = await promise;
  clearTimeout(timer);
  mount.next = undefined;
  const where = display(mount.checked.mountpoint);
  if (!answer) {
    if (kind === 'prepared') mount.thread.post({ kind: 'abandon', mount: mount.number });
    throw new UserError(`the mount on ${where} was not ${kind} in time: look at the layers' disk`);
  }
  if (answer.kind === 'failed') throw new UserError(answer.message);
  if (answer.kind !== kind) {
    throw new UserError(`the mount on ${where} ended before it was live: try again`);
  }
}
