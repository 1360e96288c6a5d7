/**
 * Brings one mount up. The engine checks the layers and opens them; the mount is made; the engine serves it;
 * last it is put in its place. A failure undoes the steps before it.
 */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import type { FromEngine, ToEngine } from '../fuse/messages.js';
import type { Native } from '../sys/native.js';
import type { Checked, Question } from './checks.js';
import { detach, type Made, makeMount, placeMount } from './device.js';
import type { EngineWorker } from './engineWorker.js';
import type { DirectoryLock } from './locks.js';
import type { MountPlan } from '../options/plan.js';
import { within } from './within.js';

export type Answer = Extract<FromEngine, { readonly mount: number }>;

/** The layers may be on a disk that has to spin up first; INIT itself takes microseconds. */
const STEP_TIMEOUT_MS = 60_000;
/** The paths have answered a moment ago (probe.ts). */
const CHECK_TIMEOUT_MS = 20_000;
/** What is given up is over at once, unless a layer hangs. */
const ABANDON_MS = 2000;

/** A mount of this process, on the way or live. */
export interface LiveMount {
  readonly number: number;
  plan: MountPlan;
  readonly thread: EngineWorker;
  /** Undefined until the engine has looked at the layers. */
  checked: Checked | undefined;
  locks: readonly DirectoryLock[];
  /** "major:minor", once mounted. */
  device: string;
  /** The /dev/fuse descriptor, which the engine closes; -1 before. */
  deviceFd: number;
  /** The next thing the engine says about this mount. */
  next: ((answer: Answer) => void) | undefined;
  readonly ended: Promise<void>;
  readonly end: () => void;
}

/** What a thread that serves no mount answers to a question about one; throws UserError. */
export async function askChecker(
  mount: LiveMount,
  checker: EngineWorker,
  question: Question,
): Promise<unknown> {
  await ready(checker);
  const message = { kind: 'check', mount: mount.number, question } as const;
  return (await step(mount, checker, 'checked', message)).answer;
}

async function ready(thread: EngineWorker): Promise<void> {
  await within(STEP_TIMEOUT_MS, thread.ready).catch((error: unknown) => {
    throw new UserError(`the engine cannot start: ${String(error)}`);
  });
}

/**
 * From a mount that was checked and has its locks to one that is served; throws UserError, with
 * nothing mounted, when that fails.
 */
export async function bringUp(
  native: Native,
  mount: LiveMount,
  mountpoint: string,
  log: (line: string) => void,
): Promise<void> {
  const { number, plan, thread } = mount;
  await ready(thread);
  await step(mount, thread, 'prepared', { kind: 'prepare', mount: number, spec: plan.spec });
  let made: Made;
  try {
    made = await makeMount(native, plan, mountpoint);
  } catch (error) {
    await giveUp(mount, () => {
      mount.thread.post({ kind: 'abandon', mount: number });
    });
    throw error;
  }
  mount.deviceFd = made.fd;
  try {
    await step(mount, thread, 'live', { kind: 'serve', mount: number, deviceFd: made.fd });
    mount.device = await placeMount(native, plan, mountpoint, made);
  } catch (error) {
    await giveUp(mount, () => {
      // What the caller has mounted is the caller's to unmount.
      if (plan.givenFd === undefined) void takeOff(native, made, mountpoint, log);
    });
    throw error;
  }
  if (made.mountFd >= 0) native.close(made.mountFd);
}

/** One that is nowhere ends with its descriptor. */
async function takeOff(
  native: Native,
  { mountFd }: Made,
  mountpoint: string,
  log: (line: string) => void,
): Promise<void> {
  if (mountFd >= 0) {
    native.close(mountFd);
    return;
  }
  const result = await detach(native, mountpoint);
  if (result < 0) log(`cannot unmount ${display(mountpoint)}: ${errnoText(result)}`);
}

/**
 * Does what ends the mount's engine part, and waits for the end for a moment: then its directories are free.
 * A mount that cannot be taken off is served no more: its locks are about to be given back.
 */
async function giveUp(mount: LiveMount, end: () => void): Promise<void> {
  const ended = nextAnswer(mount, ABANDON_MS);
  end();
  if ((await ended) || mount.deviceFd < 0) return;
  const cut = nextAnswer(mount, ABANDON_MS);
  mount.thread.post({ kind: 'end', mount: mount.number });
  await cut;
}

type Kind = Answer['kind'];

/** Sends a message; the engine's next answer about `mount` must be of this kind. Throws UserError otherwise. */
async function step<K extends Kind>(
  mount: LiveMount,
  thread: EngineWorker,
  kind: K,
  message: ToEngine,
): Promise<Extract<Answer, { readonly kind: K }>> {
  const coming = nextAnswer(mount, kind === 'checked' ? CHECK_TIMEOUT_MS : STEP_TIMEOUT_MS);
  thread.post(message);
  const answer = await coming;
  const where = display(mount.plan.mountpoint);
  if (!answer) {
    thread.stuck = true;
    if (kind === 'prepared') mount.thread.post({ kind: 'abandon', mount: mount.number });
    throw new UserError(`the mount on ${where} was not ${kind} in time: look at the layers' disk`);
  }
  if (answer.kind === 'failed') throw new UserError(answer.message);
  if (answer.kind !== kind) {
    throw new UserError(`the mount on ${where} ended before it was live: try again`);
  }
  return answer as Extract<Answer, { readonly kind: K }>;
}

export async function nextAnswer(mount: LiveMount, ms: number): Promise<Answer | undefined> {
  const answer = await within(
    ms,
    new Promise<Answer>((resolve) => {
      mount.next = resolve;
    }),
  );
  mount.next = undefined;
  return answer;
}
