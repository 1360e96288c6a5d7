/**
 * The log that conmon writes of a container: a line each, `TIME stdout|stderr F|P TEXT`; P: the text has no
 * end of line yet (the format of Kubernetes' CRI). Text is bytes.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { E } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';
import type { Store } from '../state/store.js';
import { logOf } from './monitor.js';
import type { ContainerManifest } from './records.js';
import { currentState, isRunning } from './state.js';

export interface LogLine {
  readonly stream: 1 | 2;
  /** RFC 3339. */
  readonly time: string;
  /** With the end of line, where it has one. */
  readonly data: Buffer;
}

interface LogOptions {
  readonly follow: boolean;
  /** So many lines from the end; -1: all. */
  readonly tail: number;
  /** Milliseconds since 1970. */
  readonly since?: number;
  readonly until?: number;
}

const LOOK_MS = 100;
const CHUNK = 256 << 10;
const NEWLINE = 0x0a;
const BLANK = 0x20;

function parseLine(line: Buffer): LogLine | undefined {
  const first = line.indexOf(BLANK);
  const second = line.indexOf(BLANK, first + 1);
  const third = line.indexOf(BLANK, second + 1);
  if (first < 0 || second < 0 || third < 0) return undefined;
  const stream = line.toString('latin1', first + 1, second) === 'stderr' ? 2 : 1;
  const whole = line[second + 1] === 0x46;
  const text = line.subarray(third + 1);
  const data = whole ? Buffer.concat([text, Buffer.from('\n')]) : Buffer.from(text);
  return { stream, time: line.toString('latin1', 0, first), data };
}

/** A log that may be replaced by conmon when it has reached its size. */
class LogFile {
  readonly #path: string;
  #fd = -1;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
    this.#open();
  }

  #open(): void {
    try {
      this.#fd = openSync(this.#path, 'r');
    } catch (error) {
      if (errnoOf(error) !== E.ENOENT) throw error;
    }
  }

  /** The lines that are whole by now. */
  *lines(): Generator<Buffer> {
    if (this.#fd < 0) this.#open();
    if (this.#fd < 0) return;
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      const n = readSync(this.#fd, buffer, 0, CHUNK, null);
      if (n === 0) return;
      let data = Buffer.concat([this.#rest, buffer.subarray(0, n)]);
      for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE)) {
        yield Buffer.from(data.subarray(0, end));
        data = data.subarray(end + 1);
      }
      this.#rest = Buffer.from(data);
    }
  }

  /** Goes on with the file that has replaced this one; false when it is the same. */
  renew(): boolean {
    if (this.#fd < 0) return false;
    const now = statSync(this.#path, { throwIfNoEntry: false });
    if (!now || now.ino === fstatSync(this.#fd).ino) return false;
    this.close();
    this.#open();
    return true;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** Entries, of which one made of parts counts as one line, from the `count`th last one on. */
function lastLines(entries: readonly LogLine[], count: number): readonly LogLine[] {
  if (count < 0) return entries;
  if (count === 0) return [];
  let left = count;
  for (let at = entries.length - 1; at >= 0; at--) {
    const ends = entries[at].data.at(-1) === NEWLINE;
    if (ends && left-- === 0) return entries.slice(at + 1);
  }
  return entries;
}

/** The log of a container, and with `follow` what comes until it has ended. */
export async function* readLog(
  store: Store,
  { id }: ContainerManifest,
  { follow, tail, since = 0, until = Number.POSITIVE_INFINITY }: LogOptions,
): AsyncGenerator<LogLine> {
  const file = new LogFile(logOf(store, id));
  const wanted = (line: LogLine): boolean => {
    const at = Date.parse(line.time);
    return at >= since && at <= until;
  };
  const batch = (): LogLine[] =>
    [...file.lines()].flatMap((line) => parseLine(line) ?? []).filter(wanted);
  try {
    yield* lastLines(batch(), tail);
    for (let running = follow; running; ) {
      running = isRunning(currentState(store, id).state) && Date.now() <= until;
      // What was written before its end is read after it.
      for (const line of batch()) yield line;
      if (file.renew()) running = true;
      if (running) await sleep(LOOK_MS);
    }
  } finally {
    file.close();
  }
}
