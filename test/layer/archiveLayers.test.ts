/** Layers that are more than files: whiteouts where no device can be made, and data in data-only layers. */
import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packLayer } from '../../src/archive/pack.js';
import type { PackSource } from '../../src/archive/types.js';
import { unpackLayer } from '../../src/archive/unpack.js';
import { places } from '../support/archives.js';
import { has } from '../support/needs.js';
import { REPOSITORY } from '../support/root.js';
import { mustRun, scratch } from '../support/run.js';
import { pieces } from '../support/tarball.js';
import {
  build,
  differences,
  dir,
  file,
  type Ignore,
  manifestOf,
  opaque,
  whiteout,
} from '../support/tree.js';

const { at, place } = places('archive-layers');

async function packed(source: PackSource): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  await packLayer(source, (bytes) => void parts.push(bytes), {});
  return Buffer.concat(parts);
}

/** Unpacks standard input, in a process that may make no devices. */
const UNPACK = `
const { unpackLayer } = await import(process.argv[1] + '/dist/archive/unpack.js');
await unpackLayer(process.stdin, { root: process.argv[2] });
`;

/** What kernel overlayfs shows of a layer over another. */
async function kernelView(name: string, layer: string, lower: string): Promise<string> {
  const [mount, copy] = [place(`${name}-mount`), at(name)];
  await mustRun('mount', [
    '-t',
    'overlay',
    'overlay',
    '-o',
    `ro,lowerdir=${layer}:${lower}`,
    mount,
  ]);
  try {
    await mustRun('cp', ['-a', `${mount}/.`, copy]);
  } finally {
    await mustRun('umount', [mount]);
  }
  return copy;
}

describe.runIf(has({ root: true, kernelOverlay: true, stratafs: true, programs: ['gcc'] }))(
  'whiteouts',
  () => {
    let base: string;
    let refuses: string;
    beforeAll(async () => {
      base = scratch('refuse');
      refuses = join(base, 'refuseMknod');
      await mustRun('gcc', ['-o', refuses, join(import.meta.dirname, '../support/refuseMknod.c')]);
    });
    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    it('are files with a mark where no device can be made, and hide the same', async () => {
      const lower = place('lower');
      await build(lower, [
        dir('kept'),
        file('kept/same', 'same'),
        file('kept/gone', 'gone'),
        file('kept/gone-too', 'gone'),
        dir('hidden'),
        file('hidden/old', 'old'),
        dir('away'),
        file('away/below', 'below'),
        file('root-gone', 'gone'),
      ]);
      const upper = place('upper');
      await build(upper, [
        dir('kept'),
        whiteout('kept/gone'),
        whiteout('kept/gone-too'),
        file('kept/new', 'new'),
        opaque('hidden'),
        file('hidden/new', 'new'),
        whiteout('away'),
        whiteout('root-gone'),
      ]);
      const bytes = await packed({ kind: 'changes', upper, lowers: [lower] });
      const devices = place('devices');
      await unpackLayer(pieces(bytes), { root: devices });
      const files = place('files');
      await writeFile(join(base, 'layer.tar'), bytes);
      await mustRun('sh', [
        '-euc',
        '"$1" node --input-type=module -e "$2" "$3" "$4" < "$5"',
        ...['sh', refuses, UNPACK, REPOSITORY, files, join(base, 'layer.tar')],
      ]);
      const { stdout } = await mustRun('find', [files, '-type', 'c']);
      expect(stdout).toBe('');
      const [before, now] = [
        await manifestOf(await kernelView('by-devices', devices, lower)),
        await manifestOf(await kernelView('by-files', files, lower)),
      ];
      expect(now.has('kept/new')).toBe(true);
      // The archive says nothing of the root.
      const root: Ignore = (path) => path === '.';
      expect(differences(before, now, root)).toEqual([]);
    });
  },
);

describe.runIf(has({ root: true, programs: ['gcc', 'setfattr'] }))('data-only layers', () => {
  it('give a metadata-only copy its data; without them the layer is refused', async () => {
    const [upper, data] = [place('meta'), place('data')];
    await build(data, [dir('objects'), file('objects/one', 'the data')]);
    await build(upper, [
      dir('etc'),
      file('etc/plain', '\0'.repeat('the data'.length), { mode: 0o640 }),
    ]);
    const mark = ['-n', 'trusted.overlay.metacopy', join(upper, 'etc/plain')];
    await mustRun('setfattr', mark);
    const redirect = ['-n', 'trusted.overlay.redirect', '-v', '/objects/one'];
    await mustRun('setfattr', [...redirect, join(upper, 'etc/plain')]);
    const source = { kind: 'changes', upper, lowers: [] } as const;
    const root = place('unpacked');
    await unpackLayer(pieces(await packed({ ...source, dataLayers: [data] })), { root });
    const { stdout } = await mustRun('sh', ['-c', 'cat etc/plain; stat -c " %a %s" etc/plain'], {
      cwd: root,
    });
    expect(stdout).toBe('the data 640 8\n');
    await expect(packed(source)).rejects.toThrow(
      /etc\/plain .*none of those given has it|has its data/,
    );
  });
});
