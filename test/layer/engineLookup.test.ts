/** Lookup over layers: what the union shows, with the listing of a directory kept or not. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { dirListingOf } from '../../src/overlay/lookup/readdir.js';
import { Random } from '../differential/random.js';
import { Engine, makeLayers } from '../support/engine.js';
import { has } from '../support/needs.js';
import {
  entriesOf,
  type Layer,
  NAMES,
  type Part,
  randomLayer,
  see,
} from '../support/randomLayers.js';
import { dir, file } from '../support/tree.js';

let e: Engine | undefined;
afterEach(() => {
  e?.close();
  e = undefined;
});

const TYPES = { file: 8, symlink: 10, dir: 4 } as const;

/** Compares the union below `node` with the rules; `listed`: each directory is listed before it is asked. */
function compare(
  engine: Engine,
  node: number,
  parts: readonly Part[],
  path: string,
  listed: boolean,
): void {
  const shown = listed ? listing(engine, node) : undefined;
  for (const name of NAMES) {
    const full = `${path}/${name}`;
    const expected = see(parts, name);
    const reply = engine.lookup(node, name);
    expect(reply.error, full).toBe(0);
    if (shown)
      expect(shown.get(name), `${full} in the listing`).toBe(expected && TYPES[expected.kind]);
    if (!expected) {
      expect(reply.u64(0), full).toBe(0n);
      continue;
    }
    const child = reply.u32(0);
    expect(reply.u32(40 + 60) >> 12, full).toBe(TYPES[expected.kind]);
    if (expected.kind !== 'dir') expect(reply.u64(48), full).toBe(BigInt(expected.size));
    else {
      expect(mergedLayers(engine, child), full).toEqual(lowersOf(expected.parts, engine));
      compare(engine, child, expected.parts, full, listed);
    }
  }
}

function listing(engine: Engine, node: number): Map<string, number> {
  const index = dirListingOf(engine.ov, node);
  if (typeof index === 'number') throw new Error(`no listing: ${index}`);
  const types = new Map<string, number>();
  for (const name of index.names()) types.set(name, index.type(index.slot(name) ?? -1));
  return types;
}

/** The ids of the lower layers merged in a directory, topmost first. */
function mergedLayers({ ov }: Engine, node: number): number[] {
  const stack = ov.table.lower(node);
  return Array.from({ length: ov.lowers.count(stack) }, (_, i) =>
    ov.lowers.layerOf(ov.lowers.place(stack, i)),
  );
}

/** Layers are numbered from the top, as the engine numbers them; the upper is not a lower. */
const lowersOf = (parts: readonly Part[], { ov }: Engine): number[] =>
  parts.map(({ layer }) => layer).filter((layer) => layer !== ov.upper?.id);

async function openRandom(seed: number): Promise<{ engine: Engine; parts: Part[] }> {
  const random = new Random(seed);
  const layers: Layer[] = [randomLayer(random, 0, true)];
  for (let i = 0, count = 1 + random.below(4); i < count; i++) {
    layers.push(randomLayer(random, i + 1, false));
  }
  const [upper, ...lowers] = layers.map(entriesOf);
  const parts = { lowers, upper };
  const top = await makeLayers(parts);
  layers.slice(1).forEach((layer, i) => {
    const mark = ['-n', 'trusted.overlay.opaque', '-v', 'x'];
    if (layer.xmarked) execFileSync('setfattr', [...mark, join(top, `lower${i}`)]);
  });
  const engine = new Engine(top, parts);
  return { engine, parts: layers.map((layer, i) => ({ layer: i + 1, node: layer.root })) };
}

describe.skipIf(!has({ root: true, programs: ['setfattr'] }))('random layers', () => {
  const seeds = Array.from({ length: 30 }, (_, i) => i + 1);

  it.each(seeds)('show by name what the rules say (seed %i)', async (seed) => {
    const { engine, parts } = await openRandom(seed);
    e = engine;
    compare(engine, 1, parts, '', false);
    // Once more, with every node known; then with every directory listed.
    compare(engine, 1, parts, '', false);
    compare(engine, 1, parts, '', true);
  });

  it.each(seeds)('show by name what their listings show (seed %i)', async (seed) => {
    const { engine, parts } = await openRandom(seed);
    e = engine;
    compare(engine, 1, parts, '', true);
  });
});

describe.skipIf(!has({ root: true }))('merged directories', () => {
  const layer = (number: number): ReturnType<typeof dir>[] => [
    dir('d'),
    dir('d/e'),
    file(`d/e/f${number}`),
  ];

  it('have one place for each layer, in the order of the layers', async () => {
    e = await Engine.open({ lowers: [layer(1), [file('x')], layer(3), layer(4)] });
    expect(mergedLayers(e, e.node('d'))).toEqual([2, 4, 5]);
    expect(mergedLayers(e, e.node('d/e'))).toEqual([2, 4, 5]);
    for (const number of [1, 3, 4]) expect(e.node(`d/e/f${number}`)).toBeGreaterThan(1);
  });

  it('end above a layer that has a file there, also for the layers below that', async () => {
    e = await Engine.open({ lowers: [layer(1), [file('d')], layer(3)] });
    expect(mergedLayers(e, e.node('d'))).toEqual([2]);
    expect(e.node('d/e/f3')).toBe(0);
  });

  it('are hidden by a file above them', async () => {
    e = await Engine.open({ lowers: [[file('d', 'file')], layer(2)] });
    expect(e.lookup(1, 'd').u64(48)).toBe(4n);
  });

  it('of the upper alone have no lowers', async () => {
    e = await Engine.open({ lowers: [[file('x')]], upper: [dir('only')] });
    expect(mergedLayers(e, e.node('only'))).toEqual([]);
  });

  it('work over 500 layers', async () => {
    const lowers = Array.from({ length: 500 }, () => []);
    e = await Engine.open({ lowers });
    expect(mergedLayers(e, 1)).toHaveLength(500);
    expect(e.node('none')).toBe(0);
  });
});

describe.skipIf(!has({ root: true }))('a directory that alone is marked to hold xwhiteouts', () => {
  const lowers = [
    [
      dir('d', { xattrs: { 'trusted.overlay.opaque': 'x' } }),
      file('d/n', '', { xattrs: { 'trusted.overlay.whiteout': '' } }),
    ],
    [file('other')],
  ];

  it('hides them when it is looked up', async () => {
    e = await Engine.open({ lowers });
    expect(e.node('d/n')).toBe(0);
  });

  it('hides them when it was listed', async () => {
    e = await Engine.open({ lowers });
    listing(e, 1);
    expect(e.node('d/n')).toBe(0);
  });
});
