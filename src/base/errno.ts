import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

/** errno values of this machine, positive (man 3 errno). */
export const E = {
  ...constants.errno,
  ENODATA: 61,
  EUCLEAN: 117,
  ESTALE: 116,
  EDQUOT: 122,
  ENOTSUPP: 524,
} as const;

/**
 * Not errnos, but answered in the same way, so that a change stops where it is before its deciding
 * step. PARKED: the request waits for data that is being copied, and is served from its beginning
 * then. LATER: the I/O pool answers it.
 */
export const PARKED = -0x10000;
export const LATER = -0x10001;

/**
 * Not an errno either: no thread could be had for a call that may hang (native/apart.h), so nothing was
 * tried. EAGAIN would be the errno of it, but flock(2) says that for a lock which another has.
 */
export const NO_THREAD = -0x10002;

const names = new Map<number, string>();
for (const [code, [name]] of getSystemErrorMap()) names.set(-code, name);
names.set(117, 'EUCLEAN');

/** `ENOENT` for 2 or -2; `errno N` for what has no name here. */
export function errnoName(code: number): string {
  const positive = Math.abs(code);
  return names.get(positive) ?? `errno ${positive}`;
}

const NO_THREAD_TEXT =
  'no thread can be started; raise the limit on threads of the host (pids.max, ulimit -u), or try again later';

/** A sentence fragment for messages: `no such file or directory (ENOENT)`. */
export function errnoText(code: number): string {
  if (code === NO_THREAD) return NO_THREAD_TEXT;
  const positive = Math.abs(code);
  const entry = getSystemErrorMap().get(-positive);
  return entry ? `${entry[1]} (${entry[0]})` : errnoName(positive);
}

/** A failure a user can do something about: the message is one clear sentence. */
export class UserError extends Error {
  override readonly name: string = 'UserError';
  /** The exit status of a command that ends with it. */
  readonly exit: number = 1;
}

/** The command line itself is wrong: an unknown word, flag or option, too many arguments. */
export class UsageError extends UserError {
  override readonly name = 'UsageError';
  override readonly exit = 2;
}
