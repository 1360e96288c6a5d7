/**
 * A mount of ours that is in no place any more and still held: by an open file, or by another mount
 * namespace. Who wants its upper next gets it: what the kernel holds is written, and the mount ends.
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
  const coming = nextAnswer(mount, ANSWER_MS);
  mount.thread.post({ kind: 'nodes', mount: mount.number });
  const answer = await coming;
  // It has ended meanwhile; whoever waited for that was us.
  if (answer?.kind === 'ended') return;
  if (answer?.kind !== 'nodes') throw new UserError(refusal(where, 'its engine does not answer'));
  const flushed = await within(FLUSH_MS, native.flushNodes(mount.deviceFd, answer.last));
  if (flushed === undefined || flushed < 0) {
    const why = flushed === undefined ? 'that takes too long' : errnoText(flushed);
    throw new UserError(refusal(where, `it cannot write what it holds: ${why}`));
  }
  log(`the mount that was detached from ${where} ends: its upperdir is mounted again`);
  const ended = nextAnswer(mount, END_MS);
  mount.thread.post({ kind: 'end', mount: mount.number });
  await ended;
}

const refusal = (where: string, why: string): string =>
  `the upperdir is held by the mount that was detached from ${where}, and ${why}: end what uses it`;
