/**
 * The model of a union whose host is killed: an ordinary directory that began with the same tree, in which
 * the same client does the same calls. What was answered must be in the union; of the call that was not, the
 * state before or after it. Data that was written and not synced may be lost, to what it was before.
 */
import { lstatSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { O, RENAME } from '../differential/operations.js';
import type { Random } from '../differential/random.js';
import { digest, type Tree, treeOfDirectory } from '../faults/snapshot.js';
import { loadNative } from '../../src/sys/native.js';
import { Sys } from '../../src/sys/sys.js';
import { Client, type Word } from './client.js';
import { build, dir, type Entry, file, hardlink, symlink } from './tree.js';

/** One call of the client: its name and words. */
export type Call = readonly [name: string, ...words: Word[]];

const WRITER = 1;
const DIRECTORY = 2;

/** Two layers, topmost first. */
export const TWIN_LAYERS: readonly (readonly Entry[])[] = [
  [dir('a'), file('a/f1', 'upper-a-f1'), dir('b'), dir('b/s'), file('b/s/f2', 'two')],
  [
    ...[dir('a'), dir('a/s'), dir('b'), file('a/f0', 'zero'), file('a/f1', 'hidden')],
    ...[file('a/f2', 'x'.repeat(5000)), file('a/f3', { size: 300_000, seed: 3 })],
    ...[file('a/s/f0', 'in-s'), file('a/s/f4', 'four'), file('b/f0', 'b-zero')],
    ...[file('b/h1', 'linked'), hardlink('a/h2', 'b/h1'), hardlink('h3', 'b/h1')],
    ...[symlink('l1', 'a/f0'), file('f5', 'five')],
  ],
];

const DIRECTORIES = ['', 'a', 'b', 'a/s', 'b/s', 'n1', 'n1/n2', 'b/n3'];
const NAMES = ['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'h1', 'h2', 'h3', 'l1'];

const directoryOf = (random: Random): string => random.pick(DIRECTORIES.slice(1));
function pathOf(random: Random): string {
  const at = random.pick(DIRECTORIES);
  return at === '' ? random.pick(NAMES) : `${at}/${random.pick(NAMES)}`;
}

let version = 0;

function writing(random: Random): Call[] {
  const flags = O.WRONLY | O.CREAT | O.NONBLOCK;
  const synced: Call[] = random.chance(60) ? [['fsync', WRITER]] : [];
  const data = `v${String(++version).padStart(7, '0')}`;
  return [
    ['open', WRITER, pathOf(random), flags, 0o644],
    ['write', WRITER, 0, data],
    ...synced,
    ['close', WRITER],
  ];
}

const MAKERS: readonly (readonly [number, (random: Random) => Call[]])[] = [
  [8, writing],
  [3, (r) => [['mkdir', directoryOf(r), 0o755]]],
  [1, (r) => [['rmdir', directoryOf(r)]]],
  [4, (r) => [['unlink', pathOf(r)]]],
  [5, (r) => [['rename', pathOf(r), pathOf(r), 0]]],
  [1, (r) => [['rename', pathOf(r), pathOf(r), RENAME.NOREPLACE]]],
  [2, (r) => [['rename', pathOf(r), pathOf(r), RENAME.EXCHANGE]]],
  [2, (r) => [['rename', directoryOf(r), directoryOf(r), r.pick([0, RENAME.EXCHANGE])]]],
  [3, (r) => [['link', pathOf(r), pathOf(r)]]],
  [1, (r) => [['symlink', 'a/f1', pathOf(r)]]],
  [3, (r) => [['chmod', pathOf(r), r.pick([0o600, 0o640, 0o755])]]],
  [2, (r) => [['setxattr', pathOf(r), 'user.k', `value${r.below(9)}`, 0]]],
  [2, (r) => [['truncate', pathOf(r), r.pick([0, 3, 6000])]]],
  [
    1,
    () => [
      ['open', DIRECTORY, '.', O.RDONLY | O.DIRECTORY, 0],
      ['fsync', DIRECTORY],
      ['close', DIRECTORY],
    ],
  ],
];

/**
 * Makes a file, syncs it and removes it. A file system with a journal then has all that was done before: the
 * sync of a file that was there already is of that file alone.
 */
function syncing(): Call[] {
  const name = `sync${++version}`;
  return [
    ['open', WRITER, name, O.WRONLY | O.CREAT | O.EXCL, 0o600],
    ['write', WRITER, 0, 'x'],
    ['fsync', WRITER],
    ['close', WRITER],
    ['unlink', name],
  ];
}

/** How many calls are synced by the answered ones of `calls` (all that `syncing` makes has succeeded). */
export function syncedCalls(calls: readonly Call[], answers: readonly string[]): number {
  for (let i = answers.length - 1; i > 1; i--) {
    const [, , path] = calls[i - 2] ?? [];
    if (calls[i]?.[0] === 'fsync' && /^sync\d+$/.test(String(path)) && answers[i] === 'ok')
      return i + 1;
  }
  return 0;
}

/** What a call does to the blocks of a file, whose size stays. */
type Blocks = (data: Buffer) => Buffer;

/** What some of `calls` do to blocks: writes, and truncations, which fill a block with zeros from there on. */
export const blocksOf = (calls: readonly Call[]): Blocks[] =>
  calls.flatMap(([name, ...words]): Blocks[] => {
    if (name === 'write') return [(data) => over(data, String(words[2]))];
    if (name === 'truncate') return [(data) => Buffer.from(data).fill(0, Number(words[1]))];
    return [];
  });

/** Calls of which some fail, as their names may be there or not. */
export function someCalls(random: Random, count: number): Call[] {
  const calls: Call[] = [];
  while (calls.length < count) {
    calls.push(...(random.chance(5) ? syncing() : random.weighted(MAKERS)(random)));
  }
  return calls;
}

/** A file's description: type, owner; size and data; links; whether it is older than the test; xattrs. */
const FILE = /^(\S+ \S+ )(\d+ bytes \S+) (\d+) links (old|new) (.*)$/;

export class Twin {
  readonly #dir: string;
  readonly #sys = new Sys(loadNative());
  #client: Client;
  #path = '';
  /** By inode number: what a file's data may be, as the last of it was not synced. */
  readonly #unsynced = new Map<number, Buffer[]>();

  private constructor(dir: string, client: Client) {
    this.#dir = dir;
    this.#client = client;
  }

  /** In the empty directory `dir`. */
  static async make(dir: string): Promise<Twin> {
    const merged = new Map(
      TWIN_LAYERS.toReversed().flatMap((layer) => layer.map((entry) => [entry.path, entry])),
    );
    await build(dir, [...merged.values()]);
    return new Twin(dir, await Client.start(dir));
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  /** The other client has ended, and so has no file open any more. */
  async closeFiles(): Promise<void> {
    for (const slot of [WRITER, DIRECTORY]) await this.do(['close', slot]);
    this.#path = '';
  }

  /** Does the call; its errno, or "ok". */
  async do(call: Call): Promise<string> {
    const [name, ...words] = call;
    const before = name === 'truncate' ? this.#data(String(words[0])) : this.#data(this.#path);
    const errno = await this.#client.errno(name, ...words);
    if (name === 'open') this.#path = errno === 'ok' ? String(words[1]) : '';
    if (errno !== 'ok') return errno;
    if (name === 'open' && this.#path !== '.') this.#created();
    if (name === 'write') this.#wrote(this.#path, before, (data) => data);
    if (name === 'truncate') {
      const size = Number(words[1]);
      this.#wrote(String(words[0]), before, (data) => resized(data, size));
    }
    if (name === 'fsync') this.#unsynced.delete(this.#ino(this.#path));
    return errno;
  }

  #ino(path: string): number {
    return statSync(join(this.#dir, path), { throwIfNoEntry: false })?.ino ?? 0;
  }

  #data(path: string): Buffer | undefined {
    const at = join(this.#dir, path);
    const is = path === '' ? undefined : statSync(at, { throwIfNoEntry: false });
    return is?.isFile() === true ? readFileSync(at) : undefined;
  }

  /** A number may have been a removed file's. */
  #created(): void {
    const is = statSync(join(this.#dir, this.#path));
    if (is.size === 0) this.#unsynced.delete(is.ino);
  }

  #wrote(path: string, before: Buffer | undefined, change: (data: Buffer) => Buffer): void {
    const ino = this.#ino(path);
    const after = this.#data(path);
    if (!after) return;
    const older = this.#unsynced.get(ino) ?? (before ? [before] : []);
    this.#unsynced.set(ino, [...older.map(change), after]);
  }

  /**
   * What of the union is not as here. `later`, after a power failure: unsynced data may be anything, and may
   * have been on its way to the disk before the names and sizes of its time: what was done to blocks then.
   */
  differences(union: Tree, later?: readonly Blocks[]): string[] {
    const twin = treeOfDirectory(this.#sys, this.#dir);
    const lines: string[] = [];
    for (const path of [...new Set([...twin.keys(), ...union.keys()])].sort()) {
      const [wanted, found] = [twin.get(path), union.get(path)];
      if (wanted === found) continue;
      if (wanted !== undefined && found !== undefined && this.#mayBe(path, wanted, found, later))
        continue;
      lines.push(`${path === '' ? '/' : path}: ${wanted ?? 'absent'} | ${found ?? 'absent'}`);
    }
    return lines;
  }

  #mayBe(path: string, wanted: string, found: string, later?: readonly Blocks[]): boolean {
    const [here, there] = [FILE.exec(wanted), FILE.exec(found)];
    if (!here || !there) return false;
    const [, type, data, links, age, xattrs] = here;
    const [, foundType, foundData, foundLinks, foundAge, foundXattrs] = there;
    if (type !== foundType || xattrs !== foundXattrs) return false;
    // A crash may leave the count of an indexed file too high, never too low (hardLinks.ts).
    if (Number(foundLinks) < Number(links)) return false;
    if (data === foundData && age === foundAge) return true;
    const at = join(this.#dir, path);
    const unsynced = this.#unsynced.get(lstatSync(at).ino);
    if (unsynced) return later !== undefined || unsynced.some((one) => shown(one) === foundData);
    return later !== undefined && reaches(readFileSync(at), later, foundData);
  }
}

const shown = (data: Buffer): string => `${data.length} bytes ${digest(data)}`;

/** Some of the changes, in their order, make the data what was found. */
function reaches(data: Buffer, changes: readonly Blocks[], found: string | undefined): boolean {
  return changes.some((change, i) => {
    const then = change(data);
    if (shown(then) === found) return true;
    return changes.slice(i + 1).some((next) => shown(next(then)) === found);
  });
}

/** The data with `text` at its beginning, as long as before. */
function over(data: Buffer, text: string): Buffer {
  const to = Buffer.from(data);
  to.write(text, 0, 'latin1');
  return to;
}

function resized(data: Buffer, size: number): Buffer {
  const to = Buffer.alloc(size);
  data.copy(to, 0, 0, Math.min(size, data.length));
  return to;
}
