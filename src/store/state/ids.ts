/** Identifiers: 64 hexadecimal digits, shown as 12, accepted by any unique prefix. */
import { randomBytes } from 'node:crypto';
import { UserError } from '../../base/errno.js';

/** `sha256:` and 64 lower-case hexadecimal digits: the only digests the store writes and takes. */
export type Digest = `sha256:${string}`;

const HEX = /^[0-9a-f]{64}$/;
const HEX_PREFIX = /^[0-9a-f]{1,64}$/;
const SHA256 = 'sha256:';

export const isDigest = (text: unknown): text is Digest =>
  typeof text === 'string' && text.startsWith(SHA256) && HEX.test(text.slice(SHA256.length));

/** The 64 digits of a digest; also the key of its manifest and the name of its blob. */
export const hexOf = (digest: Digest): string => digest.slice(SHA256.length);

export const digestOf = (hex: string): Digest => `${SHA256}${hex}`;

/** The form people see: 12 digits. */
export const shortId = (id: string): string =>
  (id.startsWith(SHA256) ? id.slice(SHA256.length) : id).slice(0, 12);

/** A new random ID, for a container or an operation. Never only decimal digits in its short form: a host name. */
export function newId(): string {
  for (;;) {
    const id = randomBytes(32).toString('hex');
    if (/[a-f]/.test(id.slice(0, 12))) return id;
  }
}

/**
 * The one of `keys` that `text` names: the whole ID, or a prefix that no other has, with or without
 * `sha256:`. Undefined when there is none or `text` is no ID. Throws UserError when several match.
 */
export function findByPrefix(
  keys: readonly string[],
  text: string,
  what: string,
): string | undefined {
  const hex = text.startsWith(SHA256) ? text.slice(SHA256.length) : text;
  if (!HEX_PREFIX.test(hex)) return undefined;
  const found = keys.filter((key) => key.startsWith(hex));
  if (found.length > 1) {
    throw new UserError(
      `${text} is the beginning of ${found.length} ${what} IDs: give more digits`,
    );
  }
  return found[0];
}
