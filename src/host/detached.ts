/**
 * Ends mounts that umount(2) cannot end from here:
 * - a mount that is in no place any more and is still held, by an open file or another mount namespace; it
 *   ends when somebody else wants its upper;
 * - a mount that the caller made itself.
 */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import type { Native } from '../sys/native.js';
import { type LiveMount, nextAnswer } from './bringUp.js';
import { within } from './within.js';

const ANSWER_MS = 5000;
const FLUSH_MS = 60_000;
const END_MS = 5000;

/** Throws UserError when it cannot be ended without loss. */
export async function endDetached(
  native: Native,
  mount: LiveMount,
  log: (line: string) => void,
): Promise<void> {
  const where = display(mount.checked?.mountpoint ?? mount.plan.mountpoint);
  const flushed = await flush(native, mount);
  if (flushed === 'ended') return;
  if (flushed !== 'flushed') throw new UserError(refusal(where, flushed.why));
  log(`the mount that was detached from ${where} ends: its upperdir is mounted again`);
  await end(mount);
}

/** One that the caller has mounted, and unmounts: what the kernel holds is written, and it ends. */
export async function endGiven(
  native: Native,
  mount: LiveMount,
  log: (line: string) => void,
): Promise<void> {
  const flushed = await flush(native, mount);
  if (flushed === 'ended') return;
  if (flushed !== 'flushed') log(`${display(mount.plan.mountpoint)} ends, and ${flushed.why}`);
  await end(mount);
}

/** Has the kernel write what it holds. Whoever waited for an end that came meanwhile was us. */
async function flush(
  native: Native,
  mount: LiveMount,
): Promise<'flushed' | 'ended' | { readonly why: string }> {
  const coming = nextAnswer(mount, ANSWER_MS);
  mount.thread.post({ kind: 'nodes', mount: mount.number });
  const answer = await coming;
  if (answer?.kind === 'ended') return 'ended';
  if (answer?.kind !== 'nodes') return { why: 'its engine does not answer' };
  const flushed = await within(FLUSH_MS, native.flushNodes(mount.deviceFd, answer.last));
  if (flushed !== undefined && flushed >= 0) return 'flushed';
  const why = flushed === undefined ? 'that takes too long' : errnoText(flushed);
  return { why: `it cannot write what it holds: ${why}` };
}

async function end(mount: LiveMount): Promise<void> {
  const ended = nextAnswer(mount, END_MS);
  mount.thread.post({ kind: 'end', mount: mount.number });
  await ended;
}

const refusal = (where: string, why: string): string =>
  `the upperdir is held by the mount that was detached from ${where}, and ${why}: end what uses it`;
