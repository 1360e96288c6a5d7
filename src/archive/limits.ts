/** The limits for an archive, and the sentences that refuse what exceeds them. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { Limits } from './types.js';

export const DEFAULT_LIMITS: Limits = {
  bytes: 128 * 2 ** 30,
  entries: 10_000_000,
  header: 4 * 2 ** 20,
  extents: 1_000_000,
  depth: 1000,
};

/** A name for messages: readable, and of bounded length whatever the archive holds. */
export function shown(name: string): string {
  const text = display(name.length > 200 ? `${name.slice(0, 200)}...` : name);
  // A control character must not reach the reader's terminal.
  return JSON.stringify(text);
}

/** The archive is not what it should be. */
export const damaged = (what: string): UserError =>
  new UserError(`the archive is damaged: ${what}`);

/** The archive is whole, and asks for what it must not have. */
export const refused = (name: string, why: string): UserError =>
  new UserError(`the archive is refused: its entry ${shown(name)} ${why}`);

export const beyond = (what: string, limit: number): UserError =>
  new UserError(`the archive is refused: ${what}; the limit is ${limit}`);
