/** Counts and digests bytes as they pass. */
import { createHash, type Hash } from 'node:crypto';
import { UserError } from '../base/errno.js';
import { asBuffer } from './compress.js';
import { HashLane } from './hashLane.js';
import type { Digest, Source } from './types.js';

/** The same in a thread of its own, for what is large: the tar, at the speed of disks. */
export class LaneMeter {
  size = 0;
  readonly #lane = new HashLane();

  /** The bytes may change afterwards; a promise is to be waited for before more are added. */
  add(bytes: Uint8Array): Promise<void> | undefined {
    this.size += bytes.length;
    return this.#lane.add(bytes);
  }

  async digest(): Promise<Digest> {
    return `sha256:${await this.#lane.digest()}`;
  }

  async abandon(): Promise<void> {
    await this.#lane.abandon();
  }
}

export class Meter {
  size = 0;
  readonly #hash: Hash = createHash('sha256');

  add(bytes: Uint8Array): void {
    this.size += bytes.length;
    this.#hash.update(bytes);
  }

  /** Once, at the end. */
  digest(): Digest {
    return `sha256:${this.#hash.digest('hex')}`;
  }
}

/**
 * The bytes as they come. When they are the tar itself, which is measured anyway, they are not digested
 * twice; that is known when the first of them have been looked at.
 */
export class BlobMeter {
  size = 0;
  #early: Uint8Array[] | undefined = [];
  #hash: Hash | undefined;

  add(bytes: Uint8Array): void {
    this.size += bytes.length;
    if (this.#early) this.#early.push(bytes);
    else this.#hash?.update(bytes);
  }

  /** `compressed`: they are not the tar. */
  settle(compressed: boolean): void {
    if (compressed) this.#hash = createHash('sha256');
    for (const bytes of this.#early ?? []) this.#hash?.update(bytes);
    this.#early = undefined;
  }

  /** Undefined: that of the tar. Once, at the end. */
  digest(): Digest | undefined {
    return this.#hash && `sha256:${this.#hash.digest('hex')}`;
  }
}

/** The same bytes, measured; not more than `most`, and none after an abort. */
export async function* measured(
  source: Source,
  meter: BlobMeter,
  most: number | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer, void> {
  for await (const bytes of source) {
    signal?.throwIfAborted();
    meter.add(bytes);
    if (most !== undefined && meter.size > most) throw wrongSize(`more than ${most}`, most);
    yield asBuffer(bytes);
  }
  signal?.throwIfAborted();
}

export const wrongSize = (found: string, expected: number): UserError =>
  new UserError(
    `the archive is refused: it has ${found} bytes, and ${expected} were announced for it`,
  );

/** Only sha256 can be expected; anything else is said before there is work. */
export function checkDigestForm(expected: Digest | undefined): void {
  if (expected !== undefined && !/^sha256:[0-9a-f]{64}$/.test(expected)) {
    throw new UserError(
      `the digest ${JSON.stringify(expected)} is none of sha256, the one checked here`,
    );
  }
}

export function checkDigest(what: string, found: Digest, expected: Digest | undefined): void {
  if (expected === undefined || found === expected) return;
  throw new UserError(
    `the archive is refused: its ${what} is ${found}, and ${expected} was expected`,
  );
}
