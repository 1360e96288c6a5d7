/**
 * Counts the requests of one FUSE connection, by opcode, with the kernel's own tracepoint
 * `fuse:fuse_request_send` (6.12): the same count for every FUSE driver, whoever's server it is.
 * FORGET has no answer and does not pass there.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const EVENT = 'events/fuse/fuse_request_send';
/** Opcodes that kernels send but do not name in the trace. */
const UNNAMED: Readonly<Record<string, string>> = { '0x35': 'COPY_FILE_RANGE_64' };
/** Per CPU; an event takes about 50 bytes. */
const BUFFER_KIB = 16_384;

export class RequestTrace {
  readonly #tracefs: string;
  readonly #instance: string;

  /** `directory` gets a tracefs mounted; the caller lives in a mount namespace of its own. */
  constructor(directory: string, connection: number) {
    this.#tracefs = join(directory, 'tracing');
    mkdirSync(this.#tracefs, { recursive: true });
    const mounted = spawnSync('mount', ['-t', 'tracefs', 'nodev', this.#tracefs]);
    if (mounted.status !== 0 || !existsSync(join(this.#tracefs, EVENT))) {
      throw new Error('this kernel has no tracepoint fuse:fuse_request_send to count with');
    }
    this.#instance = join(this.#tracefs, 'instances', `bench-${process.pid}`);
    mkdirSync(this.#instance);
    this.#write('buffer_size_kb', String(BUFFER_KIB));
    this.#write(`${EVENT}/filter`, `connection == ${connection}`);
    this.#write(`${EVENT}/enable`, '1');
  }

  /** The requests since the last call. */
  take(): Record<string, number> {
    const counts: Record<string, number> = {};
    const text = readFileSync(join(this.#instance, 'trace'), 'latin1');
    for (const [, name] of text.matchAll(/ opcode \d+ \((?:FUSE_)?(\w+)\)/g)) {
      const opcode = UNNAMED[name] ?? name;
      counts[opcode] = (counts[opcode] ?? 0) + 1;
    }
    this.#write('trace', '');
    return counts;
  }

  close(): void {
    this.#write(`${EVENT}/enable`, '0');
    rmdirSync(this.#instance);
    spawnSync('umount', [this.#tracefs]);
  }

  #write(file: string, text: string): void {
    writeFileSync(join(this.#instance, file), text);
  }
}
