/** Packing: what is written comes back, and the changes of an upper make the union that a mount shows. */
import { describe, expect, it } from 'vitest';
import { packLayer } from '../../src/archive/pack.js';
import type { PackOptions, PackSource, UnpackOptions } from '../../src/archive/types.js';
import { unpackLayer } from '../../src/archive/unpack.js';
import { readTar } from '../../src/archive/reader.js';
import { has } from '../support/needs.js';
import { mustRun } from '../support/run.js';
import { pieces } from '../support/tarball.js';
import { EVERYTHING, places } from '../support/archives.js';
import {
  build,
  differences,
  dir,
  type Entry,
  file,
  hardlink,
  type Ignore,
  manifestOf,
  opaque,
  whiteout,
} from '../support/tree.js';

const { at, place } = places('archive-pack');

async function made(name: string, entries: readonly Entry[]): Promise<string> {
  const path = place(name);
  await build(path, entries);
  return path;
}

async function packed(source: PackSource, options: PackOptions = {}): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  await packLayer(source, (bytes) => void parts.push(bytes), options);
  return Buffer.concat(parts);
}

async function unpacked(
  name: string,
  bytes: Buffer,
  options: Partial<UnpackOptions> = {},
): Promise<string> {
  const root = place(name);
  const { warnings } = await unpackLayer(pieces(bytes, 4099), { root, ...options });
  expect(warnings).toEqual([]);
  return root;
}

async function namesIn(bytes: Buffer): Promise<string[]> {
  const names: string[] = [];
  for await (const { entry } of readTar(pieces(bytes))) names.push(entry.name);
  return names;
}

/** What kernel overlayfs shows of a stack, topmost first, copied to a directory of its own. */
async function kernelView(name: string, layers: readonly string[]): Promise<string> {
  const [mount, copy] = [place(`${name}-mount`), at(name)];
  const stack = layers.length === 1 ? [...layers, place(`${name}-empty`)] : layers;
  const options = `ro,lowerdir=${stack.join(':')},redirect_dir=follow,metacopy=on`;
  await mustRun('mount', ['-t', 'overlay', 'overlay', '-o', options, mount]);
  try {
    await mustRun('cp', ['-a', `${mount}/.`, copy]);
  } finally {
    await mustRun('umount', [mount]);
  }
  return copy;
}

describe.runIf(has({ root: true, programs: ['gcc'] }))('round trips', () => {
  it.each([{}, { sparse: true }, { compression: 'gzip' }] as PackOptions[])(
    'a tree comes back as it was: %j',
    async (options) => {
      const tree = await made('tree', EVERYTHING);
      const bytes = await packed({ kind: 'tree', root: tree }, options);
      const copy = await unpacked('copy', bytes);
      expect(differences(await manifestOf(tree), await manifestOf(copy))).toEqual([]);
      expect(await packed({ kind: 'tree', root: copy }, options)).toEqual(bytes);
    },
  );
});

describe.runIf(has({ root: true, kernelOverlay: true, programs: ['gcc'] }))('changes', () => {
  const LOWER = [
    dir('kept'),
    file('kept/same', 'same'),
    file('kept/gone', 'gone'),
    dir('hidden'),
    file('hidden/old', 'old'),
    dir('tree'),
    dir('tree/below'),
    file('tree/below/file', 'below'),
    file('plain', 'plain'),
  ];
  const UPPER = [
    dir('kept'),
    whiteout('kept/gone'),
    file('kept/new', 'new'),
    opaque('hidden'),
    file('hidden/new', 'new'),
    dir('plain'),
    whiteout('never'),
    // As a rename of `tree` leaves it.
    whiteout('tree'),
    dir('moved', { xattrs: { 'trusted.overlay.redirect': '/tree' } }),
    file('moved/added', 'added'),
  ];

  it('make the same union again, as the kernel sees both', async () => {
    const [lower, upper] = [await made('lower', LOWER), await made('upper', UPPER)];
    const bytes = await packed({ kind: 'changes', upper, lowers: [lower] });
    expect(await namesIn(bytes)).toEqual([
      ...['hidden', 'hidden/.wh..wh..opq', 'hidden/new'],
      ...['kept', 'kept/.wh.gone', 'kept/new'],
      ...['moved', 'moved/added', 'moved/below', 'moved/below/file'],
      ...['plain', '.wh.tree'],
    ]);
    const layer = await unpacked('layer', bytes, { lowers: [lower] });
    const views = [
      await kernelView('before', [upper, lower]),
      await kernelView('after', [layer, lower]),
    ];
    const [before = '', after = ''] = views;
    expect(differences(await manifestOf(before), await manifestOf(after))).toEqual([]);
    const union = await packed({ kind: 'union', layers: [upper, lower] });
    const flat = await unpacked('flat', union);
    expect(differences(await manifestOf(before), await manifestOf(flat))).toEqual([]);
  });

  /** An upper as the kernel leaves it after `script` in a mount with these options. */
  async function written(options: string, lower: string, script: string): Promise<string> {
    const [upper, work, mount] = [place('upper'), place('work'), place('mnt')];
    const all = `lowerdir=${lower},upperdir=${upper},workdir=${work},${options}`;
    await mustRun('mount', ['-t', 'overlay', 'overlay', '-o', all, mount]);
    try {
      await mustRun('sh', ['-ec', script], { cwd: mount });
      await mustRun('cp', ['-a', `${mount}/.`, at('seen')]);
    } finally {
      await mustRun('umount', [mount]);
    }
    return upper;
  }

  it.each([
    [
      'redirect_dir=on',
      'mv tree moved; mv moved/below moved/under; mkdir tree; echo new > tree/new',
    ],
    ['redirect_dir=on', 'mv tree other; mv other tree; touch tree/below/file'],
    ['metacopy=on,redirect_dir=on', 'chmod 600 plain; chown 5:6 tree/below/file; mv plain renamed'],
    [
      'metacopy=on,redirect_dir=on',
      'mv tree moved; chmod 711 moved/below/file; ln kept/same kept/too',
    ],
    ['index=on', 'echo changed >> links/one; rm links/two'],
    ['index=on', 'chmod 600 links/three; mv links/one links/other; touch new'],
    ['index=off', 'echo changed >> links/one; rm -r hidden; mkdir hidden; rm plain; mkdir plain'],
  ])('that the kernel made, %s: %s', async (options, script) => {
    const lower = await made('lower', [
      ...LOWER,
      dir('links'),
      file('links/one', 'one'),
      hardlink('links/two', 'links/one'),
      hardlink('links/three', 'links/one'),
      hardlink('kept/linked', 'links/one'),
    ]);
    const upper = await written(options, lower, script);
    const layer = await unpacked(
      'layer',
      await packed({ kind: 'changes', upper, lowers: [lower] }),
      {
        lowers: [lower],
      },
    );
    const after = await kernelView('after', [layer, lower]);
    const [before, now] = [await manifestOf(at('seen')), await manifestOf(after)];
    // Without an index names of one file part when one of them is changed.
    const parted: Ignore = (path, field) => field === 'nlink' && path.includes('link');
    expect(differences(before, now, options === 'index=on' ? undefined : parted)).toEqual([]);
  });
});
