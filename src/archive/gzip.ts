/**
 * Writes gzip: one member for each MiB, several at a time in node:zlib's threads. Every reader of gzip takes
 * members one after the other (RFC 1952, 2.2). The same input gives the same bytes every time: the borders of
 * members do not depend on how the data arrives, and no member has a time in it.
 */
import { promisify } from 'node:util';
import { gzip as gzipCallback, type ZlibOptions } from 'node:zlib';

const MEMBER = 2 ** 20;
/** Members on their way; node:zlib's threads are four (UV_THREADPOOL_SIZE). */
const AHEAD = 5;

const compress: (bytes: Buffer, options: ZlibOptions) => Promise<Buffer> = promisify(gzipCallback);

export class GzipWriter {
  readonly #sink: (bytes: Buffer) => Promise<void>;
  readonly #level: number;
  readonly #members: Promise<Buffer>[] = [];
  #parts: Buffer[] = [];
  #have = 0;
  #any = false;

  /** `level`: 1 to 9. The sink gets one member at a time. */
  constructor(sink: (bytes: Buffer) => Promise<void>, level: number) {
    this.#sink = sink;
    this.#level = level;
  }

  /** The bytes must not change afterwards. */
  async write(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + MEMBER - this.#have);
      this.#parts.push(bytes.subarray(at, end));
      this.#have += end - at;
      at = end;
      if (this.#have === MEMBER) await this.#start();
    }
  }

  async end(): Promise<void> {
    // A gzip file has at least one member.
    if (this.#have > 0 || !this.#any) await this.#start();
    while (this.#members.length > 0) await this.#finish();
  }

  /** Something else failed: waits for what is on its way, so that no rejection is left unseen. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#members);
  }

  async #start(): Promise<void> {
    const member = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#have = 0;
    this.#any = true;
    const started = compress(member, { level: this.#level });
    // Looked at when its turn comes; until then a failure is not unhandled.
    started.catch(() => undefined);
    this.#members.push(started);
    if (this.#members.length >= AHEAD) await this.#finish();
  }

  async #finish(): Promise<void> {
    const first = this.#members.shift();
    if (first) await this.#sink(await first);
  }
}

/** The same for a stream of bytes. */
export async function* gzip(
  source: AsyncIterable<Buffer>,
  level = 6,
): AsyncGenerator<Buffer, void> {
  const ready: Buffer[] = [];
  const writer = new GzipWriter((bytes) => {
    ready.push(bytes);
    return Promise.resolve();
  }, level);
  try {
    for await (const bytes of source) {
      await writer.write(bytes);
      yield* ready.splice(0);
    }
    await writer.end();
    yield* ready.splice(0);
  } finally {
    await writer.abandon();
  }
}
