/**
 * SHA-256 in a thread of its own, for archives that are worth one. The bytes pass through a ring in shared
 * memory. An archive that fits the ring is digested here, without a thread.
 */
import { createHash, type Hash } from 'node:crypto';
import { Worker } from 'node:worker_threads';

const SLOT = 256 * 1024;
const SLOTS = 32;

/**
 * Words of the control block: slots filled (all bits inverted: and no more will be), slots read; then
 * the bytes in each slot. The end is said in the word that the thread sleeps on, so it cannot miss it.
 */
const FILLED = 0;
const READ = 1;
const LENGTHS = 2;

const PROGRAM = `
const { parentPort, workerData } = process.getBuiltinModule('node:worker_threads');
const { createHash } = process.getBuiltinModule('node:crypto');
const control = new Int32Array(workerData.control);
const ring = Buffer.from(workerData.ring);
const hash = createHash('sha256');
for (let read = 0; ; read++) {
  let filled;
  while ((filled = Atomics.load(control, ${FILLED})) === read) Atomics.wait(control, ${FILLED}, read);
  if (filled === ~read) break;
  const slot = read % ${SLOTS};
  hash.update(ring.subarray(slot * ${SLOT}, slot * ${SLOT} + control[${LENGTHS} + slot]));
  Atomics.store(control, ${READ}, read + 1);
  Atomics.notify(control, ${READ});
}
parentPort.postMessage(hash.digest('hex'));
`;

export class HashLane {
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * (LENGTHS + SLOTS)));
  readonly #ring = new SharedArrayBuffer(SLOT * SLOTS);
  readonly #bytes = Buffer.from(this.#ring);
  #worker: Worker | undefined;
  #digest: Promise<string> | undefined;
  #filled = 0;
  /** Bytes in the slot being filled. */
  #at = 0;

  /** Takes a copy. A promise: there is no room yet; nothing more may be added until it is settled. */
  add(bytes: Uint8Array, from = 0): Promise<void> | undefined {
    for (let at = from; at < bytes.length; ) {
      if (this.#at === 0 && this.#full()) return this.#wait().then(() => this.add(bytes, at));
      const size = Math.min(SLOT - this.#at, bytes.length - at);
      const start = (this.#filled % SLOTS) * SLOT + this.#at;
      this.#bytes.set(size === bytes.length ? bytes : bytes.subarray(at, at + size), start);
      this.#at += size;
      at += size;
      if (this.#at === SLOT) this.#pass();
    }
    return undefined;
  }

  /** The digest in hexadecimal; once, at the end. */
  async digest(): Promise<string> {
    if (this.#at > 0) this.#pass();
    if (!this.#digest) return this.#here().digest('hex');
    Atomics.store(this.#control, FILLED, ~this.#filled);
    Atomics.notify(this.#control, FILLED);
    return await this.#digest;
  }

  /** Nobody wants the digest any more. */
  async abandon(): Promise<void> {
    this.#digest?.catch(() => undefined);
    await this.#worker?.terminate();
  }

  #full(): boolean {
    return this.#filled - Atomics.load(this.#control, READ) === SLOTS;
  }

  #pass(): void {
    this.#control[LENGTHS + (this.#filled % SLOTS)] = this.#at;
    this.#at = 0;
    this.#filled++;
    Atomics.store(this.#control, FILLED, this.#filled);
    Atomics.notify(this.#control, FILLED);
  }

  /** Until a slot has been read; the first time the thread starts. */
  async #wait(): Promise<void> {
    this.#start();
    while (this.#full()) {
      const read = Atomics.load(this.#control, READ);
      const waited = Atomics.waitAsync(this.#control, READ, read);
      // A thread that has died reads no more: its error comes out of the digest.
      if (waited.async) await Promise.race([waited.value, this.#digest]);
    }
  }

  #start(): void {
    if (this.#worker) return;
    const workerData = { control: this.#control.buffer, ring: this.#ring };
    // Options of this process are not the thread's: --input-type, for one, changes what the text means.
    const worker = new Worker(PROGRAM, { eval: true, workerData, execArgv: [] });
    this.#worker = worker;
    this.#digest = new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.once('exit', () => reject(new Error('the thread that digests an archive has ended')));
    });
    this.#digest.catch(() => undefined);
  }

  /** All of it is in the ring. */
  #here(): Hash {
    const hash = createHash('sha256');
    for (let slot = 0; slot < this.#filled; slot++) {
      const start = slot * SLOT;
      hash.update(this.#bytes.subarray(start, start + this.#control[LENGTHS + slot]));
    }
    return hash;
  }
}
