/** Everything a program can see of a tree, one line per object, to compare two trees. */
import { createHash } from 'node:crypto';
import { createReadStream, type BigIntStats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { run } from './run.js';

export interface ManifestOptions {
  /** Paths (from the root of the tree, starting with /) that are left out with all below them. */
  readonly without?: RegExp;
  /** Modification times in nanoseconds; true unless told. */
  readonly times?: boolean;
}

/** Path (latin1, starting with /) to one line: type, mode, owner, size, contents, links, times, xattrs. */
export type Manifest = ReadonlyMap<string, string>;

/** The unions' own notes, which a copy of an upper may carry. */
const PRIVATE = /^(trusted|user)\.(overlay|fuseoverlayfs)\./;

export async function manifest(root: string, options: ManifestOptions = {}): Promise<Manifest> {
  const xattrs = await xattrsBelow(root);
  const lines = new Map<string, string>();
  /** The first path of each file with several names. */
  const groups = new Map<string, string>();
  const visit = async (path: string): Promise<void> => {
    if (options.without?.test(path) === true) return;
    const where = Buffer.from(`${root}${path}`, 'latin1');
    const stats = await lstat(where, { bigint: true });
    const fields = [...common(stats), ...(await special(where, path, stats, groups))];
    if (options.times !== false) fields.push(`mtime=${stats.mtimeNs}`);
    lines.set(path, [...fields, ...(xattrs.get(path) ?? [])].join(' '));
    if (!stats.isDirectory()) return;
    const names = (await readdir(where, { encoding: 'buffer' })).map((n) => n.toString('latin1'));
    for (const name of names.sort()) await visit(`${path === '/' ? '' : path}/${name}`);
  };
  await visit('/');
  return lines;
}

/** Up to twenty differences, readable; empty when the trees are the same. */
export function differences(left: Manifest, right: Manifest): string[] {
  const found: string[] = [];
  for (const [path, line] of left) {
    const other = right.get(path);
    if (other === undefined) found.push(`only left:  ${path} ${line}`);
    else if (other !== line) found.push(`${path}\n    left:  ${line}\n    right: ${other}`);
  }
  for (const [path, line] of right) if (!left.has(path)) found.push(`only right: ${path} ${line}`);
  return found.slice(0, 20);
}

function common(stats: BigIntStats): string[] {
  const fields = [stats.mode.toString(8), `${stats.uid}:${stats.gid}`];
  // A directory's size is its file system's affair.
  if (!stats.isDirectory()) fields.push(`size=${stats.size}`, `nlink=${stats.nlink}`);
  return fields;
}

async function special(
  where: Buffer,
  path: string,
  stats: BigIntStats,
  groups: Map<string, string>,
): Promise<string[]> {
  const fields: string[] = [];
  if (stats.isSymbolicLink()) {
    fields.push(`-> ${(await readlink(where, { encoding: 'buffer' })).toString('latin1')}`);
  }
  if (stats.isFile()) fields.push(await digest(where));
  if (stats.isCharacterDevice() || stats.isBlockDevice()) fields.push(`rdev=${stats.rdev}`);
  if (!stats.isDirectory() && stats.nlink > 1n) {
    const first = groups.get(`${stats.ino}`) ?? path;
    groups.set(`${stats.ino}`, first);
    fields.push(`same as ${first}`);
  }
  return fields;
}

async function digest(where: Buffer): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(where)) hash.update(chunk as Buffer);
  return hash.digest('hex').slice(0, 16);
}

/** All xattrs below `root` by one getfattr(1), path to `name=hex`. */
async function xattrsBelow(root: string): Promise<Map<string, string[]>> {
  const { stdout } = await run('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: root,
    encoding: 'latin1',
  });
  const found = new Map<string, string[]>();
  for (const block of stdout.trim().split('\n\n')) {
    const [head = '', ...lines] = block.split('\n');
    const kept = lines.filter((line) => !PRIVATE.test(line)).sort();
    if (kept.length > 0) found.set(pathOf(head), kept);
  }
  return found;
}

/** getfattr names an object `# file: a/b`, the odd bytes as octal digits; `.` is the root. */
function pathOf(head: string): string {
  const name = head
    .replace('# file: ', '')
    .replace(/\\([0-7]{3})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 8)),
    );
  return name === '.' ? '/' : `/${name}`;
}
