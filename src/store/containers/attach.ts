/**
 * The streams of a container, over conmon's socket: packets to it are stdin; of those from it the first byte
 * says which stream they are of.
 */
import { closeSync, openSync, read, write } from 'node:fs';
import { promisify } from 'node:util';
import { errnoText, UserError } from '../../base/errno.js';
import { O_DIRECTORY, O_PATH } from '../../sys/constants.js';
import { loadNative } from '../../sys/native.js';
import type { Store } from '../state/store.js';
import { bundleOf } from './records.js';

const readAsync = promisify(read);
const writeAsync = promisify(write);

/** conmon sends 8 KiB and the stream's number. */
const PACKET = 32 << 10;
/** It takes no more at once. */
const MOST = 8 << 10;
const STDERR = 3;
const SHUT_RD = 0;
const SHUT_WR = 1;

type End = 'ended' | 'detached';

export class Attachment {
  readonly #fd: number;
  #closed = false;
  #detached = false;
  #sending: Promise<unknown> = Promise.resolve();

  /** Throws UserError when nobody answers. */
  constructor(store: Store, id: string) {
    // Over the open directory: a socket's path may have 107 bytes.
    const directory = openSync(bundleOf(store, id), O_PATH | O_DIRECTORY);
    try {
      this.#fd = loadNative().connectPackets(`/proc/self/fd/${directory}/attach`);
    } finally {
      closeSync(directory);
    }
    if (this.#fd < 0) {
      throw new UserError(`cannot attach to container ${id.slice(0, 12)}: ${errnoText(this.#fd)}`);
    }
  }

  /** Gives what the container writes to `out`, until it ends or `detach` is called. */
  async copy(out: (data: Uint8Array, stream: 1 | 2) => void): Promise<End> {
    const buffer = Buffer.allocUnsafe(PACKET);
    for (;;) {
      const { bytesRead } = await readAsync(this.#fd, buffer, 0, PACKET, null);
      if (bytesRead === 0) break;
      out(buffer.subarray(1, bytesRead), buffer[0] === STDERR ? 2 : 1);
    }
    return this.#detached ? 'detached' : 'ended';
  }

  /** Sends to the container's stdin; resolves when it is sent. */
  send(data: Uint8Array): Promise<void> {
    const sent = this.#sending.then(async () => {
      for (let at = 0; at < data.length && !this.#closed; ) {
        const part = data.subarray(at, at + MOST);
        at += (await writeAsync(this.#fd, part)).bytesWritten;
      }
    });
    // The container no longer listens: it has ended, or has closed its stdin.
    this.#sending = sent.catch(() => undefined);
    return this.#sending as Promise<void>;
  }

  /** Ends the container's stdin, after what was sent. */
  async endInput(): Promise<void> {
    await this.#sending;
    loadNative().shutdownSocket(this.#fd, SHUT_WR);
  }

  /** The container has ended: `copy` resolves when it has copied what is left. */
  finish(): void {
    loadNative().shutdownSocket(this.#fd, SHUT_RD);
  }

  detach(): void {
    this.#detached = true;
    this.finish();
  }

  /** Call it when `copy` has resolved. */
  close(): void {
    if (!this.#closed) closeSync(this.#fd);
    this.#closed = true;
  }
}
