/**
 * The test client (test/support/client/*.c): file operations in a process of their own, which neither serves
 * the mount nor runs the tests. Names and data are latin1 strings, one character a byte. A call without an
 * answer in time ends the client and rejects, so that a hanging mount fails one test and not the run.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { inPlace } from './place.js';
import { REPOSITORY } from './root.js';
import { mustRun } from './run.js';

export type Result =
  | { readonly errno: string }
  | { readonly errno?: undefined; readonly words: readonly string[] };

export type Word = string | number;

const SOURCES = join(REPOSITORY, 'test/support/client');
const BUILD = join(REPOSITORY, 'build/test');
const CALL_TIMEOUT_MS = 30_000;

const errnoNames = new Map<number, string>();
for (const [name, code] of Object.entries(constants.errno))
  if (!errnoNames.has(code)) errnoNames.set(code, name);

let compiled: Promise<string> | undefined;

async function compile(): Promise<string> {
  const sources = readdirSync(SOURCES).sort();
  const hash = createHash('sha256');
  for (const name of sources) hash.update(readFileSync(join(SOURCES, name)));
  const binary = join(BUILD, `client-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(binary)) return binary;
  mkdirSync(BUILD, { recursive: true });
  const temp = `${binary}.${process.pid}`;
  const files = sources.filter((name) => name.endsWith('.c')).map((name) => join(SOURCES, name));
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror'];
  await mustRun('gcc', [...flags, '-o', temp, ...files], { timeoutMs: 120_000 });
  renameSync(temp, binary);
  return binary;
}

/** The compiled client, built once for each state of its sources. */
export function clientBinary(): Promise<string> {
  compiled ??= compile();
  return compiled;
}

export function encodeWord(word: Word): string {
  const text = String(word);
  if (text === '') return '%';
  return text.replace(
    /[^!-$&-~]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

export function decodeWord(word: string): string {
  if (word === '%') return '';
  return word.replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
}

/** "ok A B" as words, "err N" as an errno's name. */
export function parseLine(line: string): Result {
  if (line.startsWith('err ')) {
    const code = Number(line.slice(4));
    return { errno: errnoNames.get(code) ?? `errno ${code}` };
  }
  if (!line.startsWith('ok')) throw new Error(`the client answered ${JSON.stringify(line)}`);
  return { words: line.length === 2 ? [] : line.slice(3).split(' ') };
}

interface Waiting {
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

export class Client {
  private readonly waiting: Waiting[] = [];
  private readonly child: ChildProcess;
  private readonly stuck: () => void;
  private buffer = '';
  private stderr = '';
  private ended: Error | undefined;
  private readonly exit: Promise<void>;

  private constructor(child: ChildProcess, stuck: () => void) {
    this.child = child;
    this.stuck = stuck;
    child.stdout?.setEncoding('latin1').on('data', (text: string) => this.receive(text));
    child.stderr?.setEncoding('latin1').on('data', (text: string) => (this.stderr += text));
    child.stdin?.on('error', () => {
      // EPIPE after the client's end; 'close' below rejects whoever still waits.
    });
    this.exit = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        this.fail(new Error(`the client ended (${code ?? signal ?? ''}) ${this.stderr}`));
        resolve();
      });
      child.on('error', (error) => this.fail(error));
    });
  }

  /** Starts a client with `dir` as its directory. `stuck` runs when a call passes its deadline. */
  static async start(dir: string, stuck: () => void = () => undefined): Promise<Client> {
    const binary = await clientBinary();
    const [file, args] = inPlace(binary, [dir]);
    return new Client(spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' }), stuck);
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  private receive(text: string): void {
    const lines = (this.buffer + text).split('\n');
    this.buffer = lines.pop() ?? '';
    for (const line of lines) this.waiting.shift()?.resolve(line);
  }

  private fail(error: Error): void {
    this.ended ??= error;
    for (const waiting of this.waiting.splice(0)) waiting.reject(error);
  }

  /** One command; the answer is the rest of its line. Calls may be made without waiting. */
  line(name: string, words: readonly Word[], timeoutMs = CALL_TIMEOUT_MS): Promise<string> {
    const text = [name, ...words.map(encodeWord)].join(' ');
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) {
        reject(this.ended);
        return;
      }
      const timer = setTimeout(() => {
        const error = new Error(`no answer in ${timeoutMs} ms: ${text.slice(0, 300)}`);
        this.child.kill('SIGKILL');
        this.fail(error);
        this.stuck();
      }, timeoutMs);
      const settle = <T>(then: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer);
          then(value);
        };
      };
      this.waiting.push({ resolve: settle(resolve), reject: settle(reject) });
      this.child.stdin?.write(`${text}\n`, 'latin1');
    });
  }

  async call(name: string, ...words: Word[]): Promise<Result> {
    return parseLine(await this.line(name, words));
  }

  /** As `call`, for an operation that must succeed; words of the answer decoded. */
  async must(name: string, ...words: Word[]): Promise<string[]> {
    const result = await this.call(name, ...words);
    if (result.errno !== undefined)
      throw new Error(`${name} ${words.join(' ').slice(0, 300)}: ${result.errno}`);
    return result.words.map(decodeWord);
  }

  /** The errno's name, or "ok". */
  async errno(name: string, ...words: Word[]): Promise<string> {
    return (await this.call(name, ...words)).errno ?? 'ok';
  }

  /** Ends the client, and with it every descriptor it holds. */
  async close(): Promise<void> {
    this.child.stdin?.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    await this.exit;
    clearTimeout(timer);
  }
}
