/** GNU tar and bsdtar write what src/archive reads, and read what it writes. */
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packLayer } from '../../src/archive/pack.js';
import { readTar } from '../../src/archive/reader.js';
import { unpackLayer } from '../../src/archive/unpack.js';
import { EVERYTHING, places, PLAIN, USTAR } from '../support/archives.js';
import { has } from '../support/needs.js';
import { mustRun } from '../support/run.js';
import { pieces } from '../support/tarball.js';
import { build, differences, type Entry, type Ignore, manifestOf } from '../support/tree.js';

const { at, place } = places('archive-oracles');

async function treeOf(entries: readonly Entry[]): Promise<string> {
  const tree = place('tree');
  await build(tree, entries);
  return tree;
}

/** What `program` makes of the tree. */
async function archived(
  program: string,
  tree: string,
  options: readonly string[],
): Promise<string> {
  const archive = at('a.tar');
  await mustRun(program, ['-cf', archive, ...options, '-C', tree, '.'], {
    env: { ...process.env, LC_ALL: 'C' },
  });
  return archive;
}

/** Reads `archive` with us, in pieces of an odd size, and compares with the tree. */
async function compare(archive: string, tree: string, ignore?: Ignore): Promise<string[]> {
  const copy = place('copy');
  const { warnings } = await unpackLayer(pieces(readFileSync(archive), 7919), { root: copy });
  return [...warnings, ...differences(await manifestOf(tree), await manifestOf(copy), ignore)];
}

const NEEDS = { root: true, programs: ['gcc', 'tar', 'bsdtar'] };
const XATTRS = ['--xattrs', '--xattrs-include=*', '--acls'];

/** Fields that a form of archive does not hold. */
const noNanoseconds: Ignore = (path, field) =>
  field === 'ns' || (path === '.' && field === 'mtime');

describe.runIf(has(NEEDS))('archives of GNU tar', () => {
  it.each([
    ['v7', PLAIN.filter(({ kind }) => kind !== 'node')],
    ['oldgnu', USTAR],
    ['gnu', USTAR],
    ['ustar', USTAR],
  ] as const)('%s', async (format, entries) => {
    const tree = await treeOf(entries);
    const archive = await archived('tar', tree, [`--format=${format}`, '--numeric-owner']);
    expect(await compare(archive, tree, noNanoseconds)).toEqual([]);
  });

  it('gnu, with all it holds beyond USTAR', async () => {
    const without = EVERYTHING.filter(({ path }) => !/^(acl|xattrs)/.test(path));
    const tree = await treeOf(without);
    const archive = await archived('tar', tree, ['--format=gnu']);
    expect(await compare(archive, tree, noNanoseconds)).toEqual([]);
  });

  it('pax, with xattrs, ACLs, capabilities and nanoseconds', async () => {
    const tree = await treeOf(EVERYTHING);
    const archive = await archived('tar', tree, ['--format=posix', '--numeric-owner', ...XATTRS]);
    expect(await compare(archive, tree)).toEqual([]);
  });

  it.each([['oldgnu'], ['0.0'], ['0.1'], ['1.0']])('sparse files, %s', async (version) => {
    const tree = place('tree');
    sparseFile(join(tree, 'few'), FEW, 5_000_000);
    const many = Array.from({ length: 40 }, (_, i) => [i * 65_536, String(i)] as [number, string]);
    sparseFile(join(tree, 'many'), many, 3_000_000);
    sparseFile(join(tree, 'hole'), [], 10_000_000);
    sparseFile(join(tree, 'end'), [[99_999, 'z']], 100_000);
    writeFileSync(join(tree, 'whole'), 'whole');
    const form =
      version === 'oldgnu'
        ? ['--format=oldgnu']
        : ['--format=posix', `--sparse-version=${version}`];
    const archive = await archived('tar', tree, ['--sparse', ...form]);
    expect(await compare(archive, tree, noNanoseconds)).toEqual([]);
    const { stdout } = await mustRun('du', ['-s', '--block-size=1', at('copy')]);
    expect(parseInt(stdout, 10)).toBeLessThan(1_000_000);
  });

  it('a global header, and one that takes it back', async () => {
    const tree = place('tree');
    writeFileSync(join(tree, 'f'), 'f');
    const archive = at('a.tar');
    const options = ['--format=posix', '--pax-option=globexthdr.name=g,comment=all,mtime=1'];
    await mustRun('tar', ['-cf', archive, ...options, '-C', tree, 'f']);
    for await (const { entry } of readTar(pieces(readFileSync(archive)))) {
      expect(entry).toMatchObject({ name: 'f', size: 1 });
    }
  });
});

/** Two parts of data in a file that is else a hole. */
const FEW: readonly [number, string][] = [
  [8192, 'a'],
  [1_000_000, 'b'],
];

function sparseFile(path: string, parts: readonly [number, string][], size: number): void {
  const fd = openSync(path, 'w');
  for (const [offset, text] of parts) writeSync(fd, text, offset, 'latin1');
  ftruncateSync(fd, size);
  closeSync(fd);
}

/** libarchive writes -1 s and 5 ns as -1.000000005, and so reads it. */
const wrongBefore1970: Ignore = (path, field) =>
  (field === 'ns' || field === 'mtime') && (path === 'ancient' || path.startsWith('odd'));

describe.runIf(has(NEEDS))('archives of bsdtar', () => {
  it.each([
    ['ustar', USTAR],
    ['gnutar', USTAR],
  ] as const)('%s', async (format, entries) => {
    const tree = await treeOf(entries);
    const archive = await archived('bsdtar', tree, [`--format=${format}`, '--numeric-owner']);
    expect(await compare(archive, tree, noNanoseconds)).toEqual([]);
  });

  it('pax, with xattrs, ACLs, capabilities, sparse files and nanoseconds', async () => {
    const tree = await treeOf(EVERYTHING);
    sparseFile(join(tree, 'sparse'), FEW, 5_000_000);
    const keep = ['--xattrs', '--acls', '--numeric-owner', '--format=pax'];
    const archive = await archived('bsdtar', tree, keep);
    expect(await compare(archive, tree, wrongBefore1970)).toEqual([]);
  });
});

describe.runIf(has(NEEDS))('our archives', () => {
  async function packed(tree: string, sparse: boolean): Promise<string> {
    const archive = at('ours.tar');
    const fd = openSync(archive, 'w');
    await packLayer({ kind: 'tree', root: tree }, (bytes) => void writeSync(fd, bytes), { sparse });
    closeSync(fd);
    return archive;
  }

  it.each([[false], [true]])('come out of GNU tar as they went in (sparse: %s)', async (sparse) => {
    const tree = await treeOf(EVERYTHING);
    sparseFile(join(tree, 'sparse'), FEW, 5_000_000);
    const archive = await packed(tree, sparse);
    const copy = place('copy');
    await mustRun('tar', ['-xpf', archive, '--numeric-owner', ...XATTRS, '-C', copy]);
    expect(differences(await manifestOf(tree), await manifestOf(copy))).toEqual([]);
  });

  it('come out of bsdtar as they went in', async () => {
    const tree = await treeOf(EVERYTHING);
    const archive = await packed(tree, false);
    const copy = place('copy');
    const keep = ['--xattrs', '--acls', '--numeric-owner'];
    await mustRun('bsdtar', ['-xpf', archive, ...keep, '-C', copy], {
      env: { ...process.env, LC_ALL: 'C' },
    });
    // It gives its current directory no times, and does not know how GNU tar writes a "=" in a key.
    const its: Ignore = (path, field) =>
      wrongBefore1970(path, field) ||
      (path === '.' && (field === 'mtime' || field === 'ns')) ||
      field.startsWith('x:user.a%');
    expect(differences(await manifestOf(tree), await manifestOf(copy), its)).toEqual([]);
  });

  it('are listed by GNU tar, which finds nothing wrong', async () => {
    const tree = await treeOf(EVERYTHING);
    const { stderr } = await mustRun('tar', ['-tvf', await packed(tree, true)]);
    // What bsdtar needs for names that are no UTF-8, and writes itself.
    expect(stderr).toBe("tar: Ignoring unknown extended header keyword 'hdrcharset'\n");
  });
});
