/**
 * Reads zstd (RFC 8878) with fzstd, where node:zlib does not or loses frames (before Node 24).
 *
 * fzstd allocates whatever window a frame asks for, and decompresses a piece all at once. So this code looks
 * at the frames first: it refuses windows larger than zstd itself accepts by default, and cuts the input into
 * pieces of few blocks, of 128 KiB each.
 */
import { damaged } from './limits.js';

/** ZSTD_WINDOWLOG_LIMIT_DEFAULT is 27. */
const WINDOW_MAX = 2 ** 27;
/** Blocks decompressed in one go: 1 MiB of data at most. */
const BLOCKS = 8;

const MAGIC = 0xfd2fb528;
/** The first of the sixteen magic numbers of frames to be skipped. */
const SKIPPABLE = 0x184d2a50;
const RLE = 1;

type State = 'magic' | 'length' | 'descriptor' | 'header' | 'block' | 'skip';

/** Finds the blocks in a stream as it passes. */
class Frames {
  #state: State = 'magic';
  /** What is collected for the state, and how many bytes it needs. */
  readonly #held: number[] = [];
  #need = 4;
  #skip = 0;
  #next: State = 'magic';
  #descriptor = 0;
  #checksum = false;

  /** Where to cut the chunk from `from` on, so that no more than a few blocks end before. */
  cut(chunk: Buffer, from: number): number {
    let blocks = 0;
    for (let at = from; at < chunk.length; ) {
      if (this.#state === 'skip') {
        const size = Math.min(this.#skip, chunk.length - at);
        this.#skip -= size;
        at += size;
        if (this.#skip === 0) this.#go(this.#next);
        continue;
      }
      this.#held.push(chunk[at++]);
      if (this.#held.length < this.#need) continue;
      const wasBlock = this.#state === 'block';
      this.#step();
      if (wasBlock && ++blocks > BLOCKS) return at;
    }
    return chunk.length;
  }

  /** True between two frames. */
  get whole(): boolean {
    return this.#state === 'magic' && this.#held.length === 0;
  }

  #go(state: State): void {
    this.#state = state;
    this.#held.length = 0;
    this.#need = { magic: 4, length: 4, descriptor: 1, header: 0, block: 3, skip: 0 }[state];
  }

  #pass(bytes: number, next: State): void {
    this.#go(bytes === 0 ? next : 'skip');
    this.#skip = bytes;
    this.#next = next;
  }

  #number(from = 0, to = this.#held.length): number {
    let value = 0;
    for (let i = to - 1; i >= from; i--) value = value * 256 + this.#held[i];
    return value;
  }

  #step(): void {
    const value = this.#number();
    switch (this.#state) {
      case 'magic':
        if (value === MAGIC) this.#go('descriptor');
        else if (Math.floor(value / 16) === SKIPPABLE / 16) this.#go('length');
        else throw damaged('it is no zstd stream');
        return;
      case 'length':
        this.#pass(value, 'magic');
        return;
      case 'descriptor':
        this.#descriptor = value;
        this.#checksum = (value & 4) !== 0;
        this.#go('header');
        this.#need = this.#windowBytes() + this.#dictionaryBytes() + this.#sizeBytes();
        return;
      case 'header':
        this.#window();
        this.#go('block');
        return;
      case 'block':
        this.#block(value);
        return;
      case 'skip':
        return;
    }
  }

  #windowBytes(): number {
    return (this.#descriptor & 0x20) !== 0 ? 0 : 1;
  }

  #dictionaryBytes(): number {
    return [0, 1, 2, 4][this.#descriptor & 3];
  }

  #sizeBytes(): number {
    const flag = this.#descriptor >> 6;
    return flag === 0 ? 1 - this.#windowBytes() : 1 << flag;
  }

  #window(): void {
    let window: number;
    if (this.#windowBytes() === 1) {
      const base = 2 ** (10 + (this.#held[0] >> 3));
      window = base + (base / 8) * (this.#held[0] & 7);
    } else {
      window = this.#number(this.#dictionaryBytes());
    }
    if (window > WINDOW_MAX) throw damaged(`its zstd window is larger than ${WINDOW_MAX} bytes`);
  }

  #block(header: number): void {
    const last = (header & 1) !== 0;
    const type = (header >> 1) & 3;
    const size = type === RLE ? 1 : header >> 3;
    if (!last) this.#pass(size, 'block');
    else this.#pass(size + (this.#checksum ? 4 : 0), 'magic');
  }
}

export async function* unzstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  // Loaded when it is needed: most processes never read zstd.
  const { Decompress } = await import('fzstd');
  const ready: Buffer[] = [];
  const stream = new Decompress((bytes) => {
    if (bytes.length > 0) ready.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  });
  const frames = new Frames();
  const push = (bytes: Buffer, last: boolean): void => {
    try {
      stream.push(bytes, last);
    } catch (error) {
      throw damaged(`its zstd stream cannot be read, ${(error as Error).message}`);
    }
  };
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      const end = frames.cut(chunk, at);
      push(chunk.subarray(at, end), false);
      at = end;
      // One at a time: what has not been asked for yet is not made.
      yield* ready.splice(0);
    }
  }
  if (!frames.whole) throw damaged('its zstd stream ends too early');
  push(Buffer.alloc(0), true);
  yield* ready.splice(0);
}
