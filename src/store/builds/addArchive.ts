/** ADD of an archive of the context: it is unpacked. */
import { spawn } from 'node:child_process';
import { closeSync, createReadStream, readSync } from 'node:fs';
import { once } from 'node:events';
import { decompress } from '../../archive/compress.js';
import { unpackLayer } from '../../archive/unpack.js';
import { UserError } from '../../base/errno.js';
import { display } from '../../base/bytes.js';
import { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, RESOLVE_LAYER } from '../../sys/constants.js';
import { layerFormat } from '../layers/format.js';
import { findProgram } from '../containers/runtime.js';
import type { BuildScope } from './scope.js';
import type { Match, SourceTree } from './sourceTree.js';
import { emptyDirectory } from './workdirStep.js';

/** Compressions that Node does not know, by their first bytes (latin1), and who knows them. */
const PROGRAMS: readonly (readonly [magic: string, program: string, packageName: string])[] = [
  ['\xfd7zXZ\0', 'xz', 'xz-utils'],
  ['BZh', 'bzip2', 'bzip2'],
];

const isTar = (head: Buffer): boolean => head.toString('latin1', 257, 262) === 'ustar';

/** The directory that a file of the context is unpacked to; undefined: it is no archive. */
export async function unpackArchive(
  build: BuildScope,
  tree: SourceTree,
  match: Match,
): Promise<string | undefined> {
  const { sys } = tree;
  const slash = match.path.lastIndexOf('/');
  const dir = tree.openDirectory(slash < 0 ? '' : match.path.slice(0, slash));
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
  const fd = sys.open(dir, match.path.slice(slash + 1), flags, 0, RESOLVE_LAYER);
  sys.native.close(dir);
  // What cannot be read, copying it says.
  if (fd < 0) return undefined;
  try {
    const head = Buffer.alloc(512);
    const length = readSync(fd, head, 0, head.length, 0);
    const source = await plainOf(fd, head.subarray(0, length), match);
    if (source === undefined) return undefined;
    const root = emptyDirectory(build);
    const { ignoreOwners } = layerFormat();
    await unpackLayer(source, { root, whiteouts: 'aufs', ignoreOwners, sync: false });
    return root;
  } finally {
    closeSync(fd);
  }
}

const stream = (fd: number): AsyncIterable<Buffer> =>
  createReadStream('', { fd, start: 0, autoClose: false });

/** The bytes of the tar in a file; undefined when there is none. */
async function plainOf(
  fd: number,
  head: Buffer,
  match: Match,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  const text = head.toString('latin1');
  const known = PROGRAMS.find(([magic]) => text.startsWith(magic));
  if (known) {
    if (!isTar(await firstBlock(filtered(fd, known, match)))) return undefined;
    return filtered(fd, known, match);
  }
  const isCompressed = text.startsWith('\x1f\x8b') || text.startsWith('\x28\xb5\x2f\xfd');
  if (!isCompressed) return isTar(head) ? stream(fd) : undefined;
  try {
    if (!isTar(await firstBlock((await decompress(stream(fd))).bytes))) return undefined;
  } catch (error) {
    // It only begins like one: a file as any, as Docker takes it.
    if (error instanceof UserError) return undefined;
    throw error;
  }
  return (await decompress(stream(fd))).bytes;
}

async function firstBlock(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  let head = Buffer.alloc(0);
  for await (const chunk of source) {
    head = Buffer.concat([head, chunk]);
    if (head.length >= 512) break;
  }
  return head;
}

async function* filtered(
  fd: number,
  [, program, packageName]: (typeof PROGRAMS)[number],
  match: Match,
): AsyncGenerator<Buffer, void> {
  const path = findProgram(program);
  if (path === undefined) {
    throw new UserError(
      `${display(match.name)} is compressed with ${program}: apt-get install ${packageName}`,
    );
  }
  // Its own open file: the offset is not ours.
  const input = createReadStream('', { fd, start: 0, autoClose: false });
  const child = spawn(path, ['-dc'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const closed = once(child, 'close') as Promise<[number | null]>;
  child.stdin.on('error', () => {
    // It ended early; its exit status tells whether that is wrong.
  });
  input.pipe(child.stdin);
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer;
    const [code] = await closed;
    if (code !== 0) throw new UserError(`${display(match.name)} cannot be read by ${program}`);
  } finally {
    child.kill();
    await closed;
  }
}
