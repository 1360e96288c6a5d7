/** Iterates over the members of a tar archive, for callers that look at them one by one. */
import { asBuffer } from './compress.js';
import { damaged } from './limits.js';
import { TarParser } from './parser.js';
import type { Entry, Limits, Source } from './types.js';

interface TarMember {
  readonly entry: Entry;
  /** Its data, of a sparse file the ranges one after the other. To be read before the next member, or never. */
  readonly content: AsyncIterable<Buffer>;
}

type Event = { readonly entry: Entry } | Buffer | 'end';

/** Reads a plain (decompressed) archive; closes `source` when the caller has enough. */
export async function* readTar(
  source: Source,
  limits: Partial<Limits> = {},
): AsyncGenerator<TarMember, void> {
  const events = new Events(source, limits);
  try {
    for (let event = await events.next(); event !== undefined; event = await events.next()) {
      if (event === 'end' || Buffer.isBuffer(event)) continue;
      let open = true;
      const content = async function* (): AsyncGenerator<Buffer, void> {
        while (open) {
          const next = await events.next();
          if (Buffer.isBuffer(next)) yield next;
          else open = false;
        }
      };
      yield { entry: event.entry, content: content() };
      while (open) {
        const next = await events.next();
        open = Buffer.isBuffer(next);
      }
    }
  } finally {
    await events.close();
  }
}

/** What the parser has to say, in order; a piece of the source at a time. */
class Events {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #parser: TarParser;
  #queue: Event[] = [];
  #at = 0;
  #done = false;

  constructor(source: Source, limits: Partial<Limits>) {
    this.#iterator = source[Symbol.asyncIterator]();
    this.#parser = new TarParser(
      {
        entry: (entry) => this.#queue.push({ entry }),
        data: (bytes, at, length) => this.#queue.push(bytes.subarray(at, at + length)),
        end: () => this.#queue.push('end'),
      },
      limits,
    );
  }

  async next(): Promise<Event | undefined> {
    while (this.#at === this.#queue.length) {
      if (this.#done) return undefined;
      this.#queue = [];
      this.#at = 0;
      const next = await this.#iterator.next();
      if (next.done !== true) {
        this.#parser.write(asBuffer(next.value));
        continue;
      }
      this.#done = true;
      this.#parser.finish();
      if (!this.#parser.ended) throw damaged('it has no end mark, so it may have been cut off');
    }
    return this.#queue[this.#at++];
  }

  async close(): Promise<void> {
    if (!this.#done) await this.#iterator.return?.();
  }
}
