/**
 * The tree that all trials work on: three lower layers made once from the host's own files,
 * without network, plus the plain copy of their union. Deterministic for one host: names are
 * taken in byte order.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { MIB, writeBig } from './bigFile.js';
import type { Fixture } from './types.js';

/** Counted up when the recipe changes, so that an old fixture is not taken for a new one. */
const RECIPE = 1;
const LARGEST_FILE = 128 * 1024;
const SMALL_FILE = 16 * 1024;

interface TreePlan {
  readonly files: number;
  readonly sources: readonly string[];
  /** The layers that get file number `index`: 0 base, 1 middle, 2 top. */
  readonly layers: (index: number) => readonly number[];
}

const EVERY = 40;

/** What stands in the fixture, at full size. */
const TREES: Readonly<Record<string, TreePlan>> = {
  share: {
    files: 6000,
    sources: ['/usr/share/doc', '/usr/share/man', '/usr/share'],
    // Merged directories: two layers hold the tree, a third replaces a few of its files.
    layers: (index) => [index % 3 === 2 ? 1 : 0, ...(index % EVERY === 7 ? [2] : [])],
  },
  lib: {
    files: 3500,
    sources: ['/usr/lib/python3', '/usr/lib/python3.11', '/usr/lib/node_modules', '/usr/lib'],
    layers: () => [0],
  },
  include: {
    files: 2000,
    sources: ['/usr/include/linux', '/usr/include/node', '/usr/include', '/usr/lib'],
    layers: (index) => [1 + (index % 2)],
  },
  etc: { files: 500, sources: ['/usr/share/zoneinfo', '/usr/share'], layers: () => [0] },
};

interface Entry {
  readonly source: string;
  readonly name: string;
}

/** Files and symlinks below `source`, in byte order of their names. */
function* walk(source: string, below = ''): Generator<Entry> {
  const entries = readdirSync(join(source, below), { withFileTypes: true });
  entries.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  for (const entry of entries) {
    const name = join(below, entry.name);
    // One name a line in the lists; a name of other bytes would not survive Node's strings.
    if (/[\n\ufffd]/.test(entry.name)) continue;
    if (entry.isDirectory()) yield* walk(source, name);
    else if (entry.isSymbolicLink()) yield { source, name };
    else if (entry.isFile() && lstatSync(join(source, name)).size <= LARGEST_FILE) {
      yield { source, name };
    }
  }
}

/** `count` entries from `sources`; a poor host's files are taken again under other names. */
function gather(sources: readonly string[], count: number): { from: string; to: string }[] {
  const taken: { from: string; to: string }[] = [];
  const present = sources.filter((source) => existsSync(source));
  for (let pass = 0; taken.length < count; pass++) {
    const before = taken.length;
    for (const [number, source] of present.entries()) {
      for (const entry of walk(source)) {
        if (taken.length === count) return taken;
        taken.push({
          from: join(entry.source, entry.name),
          to: join(`${pass}-${number}`, entry.name),
        });
      }
    }
    if (taken.length === before) throw new Error(`There are no files in ${sources.join(', ')}.`);
  }
  return taken;
}

function place(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  const stats = lstatSync(from);
  if (stats.isSymbolicLink()) {
    symlinkSync(readlinkSync(from), to);
    return;
  }
  copyFileSync(from, to);
  chmodSync(to, stats.mode & 0o777);
  utimesSync(to, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

interface Lists {
  readonly small: string[];
  readonly counts: Record<string, number>;
}

/** Fills the layer directories; returns what the trials need to know of the trees. */
function fillLayers(layers: readonly string[], scale: number): Lists {
  const small: string[] = [];
  const counts: Record<string, number> = {};
  for (const [tree, plan] of Object.entries(TREES)) {
    const files = gather(plan.sources, Math.round(plan.files * scale));
    counts[tree] = files.length;
    for (const [index, { from, to }] of files.entries()) {
      const name = join(tree, to);
      for (const layer of plan.layers(index)) place(from, join(layers[layer] ?? '', name));
      const stats = lstatSync(from);
      if (tree === 'lib' && stats.isFile() && stats.size <= SMALL_FILE) small.push(name);
    }
  }
  return { small, counts };
}

/** A layer that deletes and replaces: whiteouts over the tree `share`, and an opaque directory. */
function addWhiteouts(client: string, layers: readonly string[]): void {
  const [base = '', , top = ''] = layers;
  const hidden: string[] = [];
  let index = 0;
  for (const entry of walk(join(base, 'share'))) {
    const target = join(top, 'share', entry.name);
    if (index++ % 150 === 50 && !existsSync(target)) hidden.push(target);
  }
  for (const target of hidden) mkdirSync(dirname(target), { recursive: true });
  command(client, ['/', 'whiteout', ...hidden]);
  for (const [layer, count] of [
    [base, 50],
    [top, 20],
  ] as const) {
    mkdirSync(join(layer, 'opaque'), { recursive: true });
    for (let i = 0; i < count; i++) writeFileSync(join(layer, 'opaque', `file-${i}`), `${layer}\n`);
  }
  command(client, ['/', 'opaque', join(top, 'opaque')]);
}

function command(program: string, args: readonly string[]): void {
  const result = spawnSync(program, args, { encoding: 'utf8' });
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error(`${program} failed: ${result.stderr.trim()}`);
}

/** The plain copy is what kernel overlayfs shows; its mount lives in a namespace of its own. */
function copyMerged(lowers: readonly string[], mountpoint: string, plain: string): void {
  mkdirSync(mountpoint, { recursive: true });
  mkdirSync(plain, { recursive: true });
  const script =
    'mount -t overlay overlay -o "lowerdir=$1" "$2" && cp -a "$2/." "$3/" && umount "$2"';
  const args = ['-m', '--propagation', 'private', 'sh', '-ec', script, 'sh'];
  command('unshare', [...args, lowers.join(':'), mountpoint, plain]);
}

/** The fixture in `directory`, made when it is not there or not whole. */
export function prepareFixture(
  directory: string,
  quick: boolean,
  client: string,
  say: (text: string) => void,
): Fixture {
  const home = join(directory, `fixture-${RECIPE}-${quick ? 'quick' : 'full'}`);
  const stamp = join(home, 'fixture.json');
  if (existsSync(stamp)) return JSON.parse(readFileSync(stamp, 'utf8')) as Fixture;
  say(`making the fixture in ${home} (once)`);
  rmSync(home, { recursive: true, force: true });
  const layers = ['base', 'middle', 'top'].map((name) => join(home, name));
  for (const layer of layers) mkdirSync(layer, { recursive: true });
  const { small, counts } = fillLayers(layers, quick ? 0.25 : 1);
  addWhiteouts(client, layers);
  const bigBytes = (quick ? 64 : 256) * MIB;
  writeBig(join(layers[0] ?? '', 'big/data'), bigBytes);
  const lowers = layers.toReversed();
  const plain = join(home, 'plain');
  copyMerged(lowers, join(home, 'merged'), plain);
  const archive = join(home, 'include.tar');
  command('tar', ['-cf', archive, '-C', plain, 'include']);
  const smallFiles = join(home, 'small.list');
  const missingNames = join(home, 'missing.list');
  writeFileSync(smallFiles, `${small.join('\n')}\n`);
  writeFileSync(missingNames, `${small.map((name) => `${name}.no-such-file`).join('\n')}\n`);
  const { lib = 0, include = 0, etc = 0 } = counts;
  const files = Object.values(counts).reduce((sum, n) => sum + n, 0);
  const fixture: Fixture = {
    lowers,
    plain,
    archive,
    smallFiles,
    missingNames,
    counts: { files, tar: lib, small: small.length, include, etc },
    bigBytes,
  };
  writeFileSync(stamp, JSON.stringify(fixture, undefined, 2));
  return fixture;
}
