/** What a build is given: the Dockerfile, and the directory that COPY and ADD read. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { decompress } from '../../archive/compress.js';
import { unpackLayer } from '../../archive/unpack.js';
import { errnoText, UserError } from '../../base/errno.js';
import { bytes, errnoOf, look } from '../../sys/paths.js';
import { newId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import { readIgnore } from './ignore.js';
import type { Ignored } from './sourceTree.js';

export interface Context {
  /** The directory; latin1. */
  readonly path: string;
  readonly ignored: Ignored;
  /** Something is left out. */
  readonly hasIgnore: boolean;
  readonly dockerfile: string;
  /** Its name for messages. */
  readonly name: string;
}

export interface ContextInput {
  /** A directory, or `-`: a Dockerfile or an archive on standard input. Latin1. */
  readonly context: string;
  /** --file; latin1. */
  readonly file: string | undefined;
  readonly stdin: () => AsyncIterable<Uint8Array>;
}

const NAMES = ['Dockerfile', 'Containerfile'];
const MAX_DOCKERFILE = 1 << 20;

const text = (path: string): string => {
  try {
    return readFileSync(bytes(path), 'utf8');
  } catch (error) {
    throw new UserError(`cannot read ${shown(path)}: ${errnoText(errnoOf(error))}`);
  }
};

const shown = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');

async function readAll(source: AsyncIterable<Uint8Array>, what: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > MAX_DOCKERFILE)
      throw new UserError(`${what} is longer than ${MAX_DOCKERFILE} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Where the Dockerfile is: as given, from the current directory or, as podman takes it, in the context. */
function dockerfileIn(context: string, file: string | undefined): string {
  if (file === undefined) {
    const found = NAMES.map((name) => `${context}/${name}`).find((path) => existsSync(bytes(path)));
    if (found !== undefined) return found;
    throw new UserError(`there is no Dockerfile in ${shown(context)}: name it with --file`);
  }
  const inContext = join(context, file);
  const isThere = existsSync(bytes(file));
  return !isThere && !isAbsolute(file) && existsSync(bytes(inContext)) ? inContext : file;
}

function ignoreFor(context: string, dockerfile: string | undefined): string {
  const own = dockerfile === undefined ? [] : [`${dockerfile}.dockerignore`];
  const path = [...own, `${context}/.dockerignore`].find((each) => existsSync(bytes(each)));
  return path === undefined ? '' : text(path);
}

function contextOf(path: string, dockerfile: string, name: string, ignore: string): Context {
  const ignored = readIgnore(ignore);
  const hasIgnore = ignore.trim() !== '';
  return {
    path,
    ignored,
    hasIgnore,
    dockerfile,
    name: Buffer.from(name, 'latin1').toString('utf8'),
  };
}

/** The first bytes of a stream, and all of it. */
async function peek(
  source: AsyncIterable<Uint8Array>,
): Promise<{ head: Buffer; all: () => AsyncGenerator<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < 512) {
    const next = await iterator.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  const first = head;
  return {
    head,
    async *all() {
      yield first;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
        yield next.value;
      }
    },
  };
}

const isArchive = (head: Buffer): boolean =>
  head.toString('latin1', 257, 262) === 'ustar' ||
  (head[0] === 0x1f && head[1] === 0x8b) ||
  head.readUInt32LE(0) === 0xfd2fb528;

/** Standard input: an archive is the context, anything else is the Dockerfile, with an empty context. */
async function fromInput(lease: Lease, input: ContextInput): Promise<Context> {
  const directory = `${lease.directory}/${newId().slice(0, 16)}`;
  mkdirSync(bytes(directory), 0o755);
  const { head, all } = await peek(input.stdin());
  if (head.length < 512 || !isArchive(head)) {
    if (input.file !== undefined) {
      throw new UserError(
        'standard input is no archive: with --file it must be one, as the context',
      );
    }
    const dockerfile = await readAll(all(), 'the Dockerfile on standard input');
    return contextOf(directory, dockerfile.toString('utf8'), 'Dockerfile', '');
  }
  const plain = await decompress(all());
  await unpackLayer(plain.bytes, { root: directory, whiteouts: 'aufs', sync: false });
  const file = input.file === undefined ? undefined : join(directory, input.file);
  const path = dockerfileIn(directory, file);
  const name = path.slice(directory.length + 1);
  return contextOf(directory, text(path), name, ignoreFor(directory, path));
}

/** Throws UserError. */
export async function openContext(lease: Lease, input: ContextInput): Promise<Context> {
  const { context, file } = input;
  if (context === '-') {
    if (file === '-') throw new UserError('context and Dockerfile cannot both be standard input');
    return fromInput(lease, input);
  }
  if (/^(https?|git|ssh):\/\//.test(context) || context.startsWith('git@')) {
    throw new UserError(
      'a context is a directory or -: fetch it first (git clone, curl | stratafs build -)',
    );
  }
  const found = look(context);
  if (typeof found === 'number') {
    throw new UserError(`cannot read the context ${shown(context)}: ${errnoText(found)}`);
  }
  if (!found.isDirectory) throw new UserError(`the context ${shown(context)} is no directory`);
  if (file === '-') {
    const data = await readAll(input.stdin(), 'the Dockerfile on standard input');
    return contextOf(context, data.toString('utf8'), 'Dockerfile', ignoreFor(context, undefined));
  }
  const path = dockerfileIn(context, file);
  return contextOf(
    context,
    text(path),
    path.slice(path.lastIndexOf('/') + 1),
    ignoreFor(context, path),
  );
}
