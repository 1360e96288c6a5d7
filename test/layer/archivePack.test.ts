/** Packing: what is written comes back, and the changes of an upper make the union that a mount shows. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packLayer } from '../../src/archive/pack.js';
import type { PackOptions, PackSource, UnpackOptions } from '../../src/archive/types.js';
import { unpackLayer } from '../../src/archive/unpack.js';
import { readTar } from '../../src/archive/reader.js';
import { has } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';
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
  opaque,
  symlink,
  whiteout,
} from '../support/tree.js';

let top: string;
beforeEach(() => {
  top = scratch('archive-pack');
});
afterEach(() => {
  rmSync(top, { recursive: true, force: true });
});

function place(name: string): string {
  const path = join(top, name);
  mkdirSync(path);
  return path;
}

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
  const [mount, copy] = [place(`${name}-mount`), join(top, name)];
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

const ODD = 'odd \xff\n"\\%=é';
const ALL: readonly Entry[] = [
  dir('d', { mode: 0o2750, uid: 1, gid: 2 }),
  file('d/empty'),
  file('d/file', { size: 100_000, seed: 1 }, { mode: 0o4755, uid: 3_000_000, gid: 4_000_000_000 }),
  hardlink('d/link', 'd/file'),
  file(ODD, 'odd', { mtime: [-1_000_000, 1] }),
  file('ancient', 'x', { mtime: [-1, 999_999_999] }),
  symlink('symlink', `../${'t'.repeat(300)}`, { mtime: [5, 6] }),
  hardlink('symlinked', 'symlink'),
  fifo('fifo', { mode: 0o620 }),
  device('char', 10, 200, { uid: 5 }),
  { kind: 'node', type: 'block', path: 'block', major: 259, minor: 1_000_000 },
  dir('n'.repeat(255)),
  dir(`${'n'.repeat(255)}/${'m'.repeat(255)}`),
  file(`${'n'.repeat(255)}/${'m'.repeat(255)}/${'o'.repeat(255)}`, 'deep'),
  file('xattrs', 'x', {
    xattrs: {
      'user.binary': '\0\xff\n=\x80',
      'user.a=b%3Dc%d': '',
      'user.long': 'v'.repeat(3000),
      'trusted.t': 't',
      'security.capability': '\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0',
    },
  }),
  dir('acl', { mode: 0o750, xattrs: { 'system.posix_acl_default': acl() } }),
  file('acl/child', 'x', { mode: 0o640 }),
  file('acl/own', 'x', { mode: 0o660, xattrs: { 'system.posix_acl_access': acl() } }),
];

/** u::rwx u:1000:rw- g::r-x m::rwx o::--- */
function acl(): string {
  const entries = [
    [1, 7, -1],
    [2, 6, 1000],
    [4, 5, -1],
    [16, 7, -1],
    [32, 0, -1],
  ];
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag = 0, bits = 0, id = 0], i) => {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(bits, 6 + 8 * i);
    bytes.writeInt32LE(id, 8 + 8 * i);
  });
  return bytes.toString('latin1');
}

describe.runIf(has({ root: true, programs: ['gcc'] }))('round trips', () => {
  it.each([{}, { sparse: true }, { compression: 'gzip' }] as PackOptions[])(
    'a tree comes back as it was: %j',
    async (options) => {
      const tree = await made('tree', ALL);
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
});
