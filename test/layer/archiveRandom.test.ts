/** Random trees come back as they were; random stacks show what the rules say, and so do their layers. */
import { describe, expect, it } from 'vitest';
import { packLayer } from '../../src/archive/pack.js';
import { readTar } from '../../src/archive/reader.js';
import type { PackSource, UnpackOptions } from '../../src/archive/types.js';
import { unpackLayer } from '../../src/archive/unpack.js';
import { Random } from '../differential/random.js';
import { has } from '../support/needs.js';
import {
  entriesOf,
  type Layer,
  NAMES,
  type Part,
  randomLayer,
  see,
} from '../support/randomLayers.js';
import { places } from '../support/archives.js';
import { pieces } from '../support/tarball.js';
import {
  build,
  device,
  differences,
  dir,
  type Entry,
  fifo,
  file,
  hardlink,
  manifestOf,
  symlink,
} from '../support/tree.js';

const { place } = places('archive-random');

async function packed(source: PackSource, sparse = false): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  await packLayer(source, (bytes) => void parts.push(bytes), { sparse });
  return Buffer.concat(parts);
}

/** A name of any bytes but NUL and "/", short or at the limits of headers and file systems. */
function randomName(random: Random): string {
  const length = random.weighted([
    [6, 1 + random.below(8)],
    [1, 95 + random.below(10)],
    [1, 250 + random.below(6)],
  ]);
  let name = '';
  while (name.length < length) {
    const byte = 1 + random.below(255);
    name += byte === 0x2f ? 'x' : String.fromCharCode(byte);
  }
  return /^\.{1,2}$/.test(name) || name.startsWith('.wh.') ? `_${name.slice(1)}` : name;
}

function randomTree(random: Random): Entry[] {
  const dirs = [''];
  const files: string[] = [];
  const entries: Entry[] = [];
  const taken = new Set<string>();
  for (let i = 0; i < 60; i++) {
    const parent = random.pick(dirs);
    const path = (parent === '' ? '' : `${parent}/`) + randomName(random);
    if (taken.has(path) || path.length > 1500) continue;
    taken.add(path);
    const seconds = random.weighted([
      [4, random.below(2 ** 31)],
      [1, -random.below(2 ** 31)],
      [1, 2 ** 32 + random.below(1000)],
    ]);
    const more = {
      mode: random.below(0o10000),
      uid: random.pick([0, 1, 65_534, 2_097_151, 2_097_152, 4_294_967_294]),
      gid: random.pick([0, 5, 3_000_000_000]),
      mtime: [seconds, random.pick([0, 1, 999_999_999, 120_000_000])] as const,
    };
    const xattrs: Record<string, string> = random.chance(20)
      ? { 'user.a': randomName(random), [`trusted.${i}=%3D`]: '\0\xff' }
      : {};
    const kind = random.below(10);
    if (kind < 3) {
      entries.push(dir(path, { ...more, xattrs }));
      dirs.push(path);
    } else if (kind < 7) {
      const size = random.pick([0, 1, 511, 512, 513, 70_000]);
      const hole = random.chance(20) ? { hole: 100_000 } : {};
      entries.push(file(path, { size, seed: i, ...hole }, { ...more, xattrs }));
      files.push(path);
    } else if (kind === 7)
      entries.push(symlink(path, randomName(random), { ...more, mode: 0o777 }));
    else if (kind === 8 && files.length > 0) entries.push(hardlink(path, random.pick(files)));
    else if (random.chance(50)) entries.push(fifo(path, more));
    else entries.push(device(path, 1 + random.below(4095), random.below(2 ** 20), more));
  }
  return entries;
}

describe.runIf(has({ root: true, programs: ['gcc'] }))('random trees', () => {
  it.each(Array.from({ length: 25 }, (_, seed) => [seed]))('seed %i', async (seed) => {
    const random = new Random(seed);
    const tree = place('tree');
    await build(tree, randomTree(random));
    const sparse = random.chance(50);
    const bytes = await packed({ kind: 'tree', root: tree }, sparse);
    const copy = place('copy');
    await unpackLayer(pieces(bytes, 1 + random.below(3000)), { root: copy, sync: false });
    expect(differences(await manifestOf(tree), await manifestOf(copy))).toEqual([]);
    expect((await packed({ kind: 'tree', root: copy }, sparse)).equals(bytes)).toBe(true);
  });
});

/** What the rules say of a stack, by path: "dir", or kind and size. */
function shownBy(layers: readonly Layer[]): Map<string, string> {
  const shown = new Map<string, string>();
  const walk = (parts: readonly Part[], path: string): void => {
    for (const name of NAMES) {
      const seen = see(parts, name);
      if (!seen) continue;
      shown.set(path + name, seen.kind === 'dir' ? 'dir' : `${seen.kind} ${seen.size}`);
      if (seen.kind === 'dir') walk(seen.parts, `${path}${name}/`);
    }
  };
  walk(
    layers.map((layer, i) => ({ layer: i, node: layer.root })),
    '',
  );
  return shown;
}

async function shownIn(bytes: Buffer): Promise<Map<string, string>> {
  const shown = new Map<string, string>();
  for await (const { entry } of readTar(pieces(bytes))) {
    if (entry.name === '.') continue;
    const size = entry.type === 'symlink' ? entry.target.length : entry.size;
    shown.set(entry.name, entry.type === 'dir' ? 'dir' : `${entry.type} ${size}`);
  }
  return shown;
}

describe.runIf(has({ root: true, programs: ['gcc'] }))('random stacks', () => {
  it.each(Array.from({ length: 40 }, (_, seed) => [seed]))('seed %i', async (seed) => {
    const random = new Random(1000 + seed);
    const layers = [true, false, false].map((upper, i) => randomLayer(random, i, upper));
    const paths = await Promise.all(
      layers.map(async (layer, i) => {
        const path = place(`layer${i}`);
        await build(path, entriesOf(layer));
        return path;
      }),
    );
    const [upper = '', ...lowers] = paths;
    const before = await packed({ kind: 'union', layers: paths });
    expect(await shownIn(before)).toEqual(shownBy(layers));
    // As an archive and back, in either form, the upper makes the same union.
    const changes = await packed({ kind: 'changes', upper, lowers });
    for (const whiteouts of ['overlay', 'aufs'] as const) {
      const root = place(whiteouts);
      const options: UnpackOptions = { root, whiteouts, lowers, sync: false };
      await unpackLayer(pieces(changes, 1777), options);
      const after = await packed({ kind: 'union', layers: [root, ...lowers] });
      expect(after.equals(before), whiteouts).toBe(true);
    }
    // Applied to what the lowers show, it makes it at once.
    const flat = place('flat');
    await unpackLayer(pieces(await packed({ kind: 'union', layers: lowers })), {
      root: flat,
      sync: false,
    });
    await unpackLayer(pieces(changes, 1777), { root: flat, whiteouts: 'apply', sync: false });
    expect(await shownIn(await packed({ kind: 'tree', root: flat }))).toEqual(shownBy(layers));
  });
});
