/**
 * src/archive against the programs that make and read image layers: buildah (containers/storage), whose
 * bytes ours are, umoci and skopeo.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packLayer } from '../../src/archive/pack.js';
import type { PackOptions, PackSource, Unpacked } from '../../src/archive/types.js';
import { unpackLayer } from '../../src/archive/unpack.js';
import { EVERYTHING } from '../support/archives.js';
import { has } from '../support/needs.js';
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
import { expectNothingLeft } from './support/leftovers.js';
import { bash } from './support/run.js';

let top: string;
beforeEach(async () => {
  top = await mkdtemp('/var/tmp/stratafs-clients-');
});
afterEach(async () => {
  await expectNothingLeft(top);
  rmSync(top, { recursive: true, force: true });
});

function place(name: string): string {
  const path = join(top, name);
  mkdirSync(path);
  return path;
}

async function packed(source: PackSource, options: PackOptions = {}): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  await packLayer(source, (bytes) => void parts.push(bytes), options);
  return Buffer.concat(parts);
}

async function unpacked(name: string, bytes: Buffer, diffId?: string): Promise<Unpacked> {
  const root = place(name);
  const done = await unpackLayer(pieces(bytes, 65_536), { root, expect: { diffId } });
  expect(done.warnings).toEqual([]);
  return done;
}

interface Manifest {
  readonly layers: readonly { readonly digest: string; readonly mediaType: string }[];
  readonly config: { readonly digest: string };
}

const blob = (layout: string, digest: string): Buffer =>
  readFileSync(join(layout, 'blobs/sha256', digest.slice('sha256:'.length)));

const json = (bytes: Buffer): unknown => JSON.parse(bytes.toString('utf8'));

/** The layers of the one image in an OCI layout, lowest first, and their diff IDs. */
function imageIn(layout: string): {
  layers: { bytes: Buffer; mediaType: string }[];
  diffIds: string[];
} {
  const index = json(readFileSync(join(layout, 'index.json'))) as {
    manifests: { digest: string }[];
  };
  const manifest = json(blob(layout, index.manifests[0]?.digest ?? '')) as Manifest;
  const config = json(blob(layout, manifest.config.digest)) as { rootfs: { diff_ids: string[] } };
  const layers = manifest.layers.map(({ digest, mediaType }) => ({
    bytes: blob(layout, digest),
    mediaType,
  }));
  return { layers, diffIds: config.rootfs.diff_ids };
}

describe.skipIf(!has({ root: true, kernelOverlay: true, programs: ['buildah', 'gcc'] }))(
  'buildah',
  () => {
    const BASE = `mkdir -p $m/etc $m/usr/bin $m/old/deep $m/etc/empty
echo hello > $m/etc/file; echo a > $m/old/a; echo b > $m/old/deep/b; echo z > $m/gone1; echo z > $m/gone2
cp /bin/true $m/usr/bin/cap; setcap cap_net_raw+ep $m/usr/bin/cap; setfattr -n user.x -v val $m/etc/file
ln $m/etc/file $m/etc/link; ln -s ../x $m/etc/sym; mknod $m/etc/dev c 1 3; mkfifo $m/etc/fifo
long=$(printf 'n%.0s' $(seq 120)); mkdir $m/$long; echo x > $m/$long/file; echo x > "$m/etc/ünï"
chown 3000000:5 $m/etc/file; chmod 4755 $m/etc/file; chmod 1777 $m/etc/empty
mkdir -p $m/$(printf 'p%.0s' $(seq 90))/$(printf 'q%.0s' $(seq 60)); truncate -s 3M $m/etc/holes`;
    const CHANGE = `rm $m/gone1 $m/gone2 $m/etc/fifo; rm -rf $m/old; mkdir $m/old; echo new > $m/old/new
echo more >> $m/etc/file; mkdir $m/fresh; chmod 700 $m/etc/empty`;

    it('writes layers whose bytes are ours, and we read them', async () => {
      const B = `buildah --root ${top}/store --runroot ${top}/run --storage-driver overlay`;
      const commit = 'commit -q --disable-compression=true';
      try {
        const { stdout } = await bash(`set -e
c=$(${B} from scratch); m=$(${B} mount $c); echo \${m%/merged}/diff
${BASE}
${B} ${commit} $c one >/dev/null
c=$(${B} from --pull-never one); m=$(${B} mount $c); echo \${m%/merged}/diff
${CHANGE}
${B} ${commit} $c oci:${top}/out:two >/dev/null`);
        const uppers = stdout.trim().split('\n');
        const { layers, diffIds } = imageIn(join(top, 'out'));
        expect(layers).toHaveLength(2);
        for (const [i, upper] of uppers.entries()) {
          const ours = await packed({ kind: 'changes', upper }, { style: 'containers' });
          expect(ours.equals(layers[i]?.bytes ?? Buffer.alloc(0)), `layer ${i}`).toBe(true);
          await unpacked(`layer${i}`, layers[i]?.bytes ?? Buffer.alloc(0), diffIds[i]);
          const [theirs, copy] = await Promise.all([
            manifestOf(upper),
            manifestOf(join(top, `layer${i}`)),
          ]);
          expect(differences(theirs, copy, whole)).toEqual([]);
        }
      } finally {
        await bash(
          `${B} umount -a >/dev/null; ${B} rm -a >/dev/null; umount ${top}/store/overlay 2>/dev/null || true`,
        );
      }
    });
  },
);

/** Go's reader takes an xattr with an empty value for none, and leaves GNU tar's %3D as it is. */
const goLacks = (field: string): boolean => field.startsWith('x:user.a%');

/** What containers/storage leaves out: nanoseconds, the root, and all of a whiteout but that it is one. */
const whole: Ignore = (path, field) =>
  field === 'ns' ||
  path === '.' ||
  field.startsWith('x:trusted.overlay.') ||
  (/^(gone[12]|etc\/fifo)$/.test(path) && field !== 'mode');

describe.skipIf(!has({ root: true, programs: ['umoci', 'skopeo', 'gcc', 'zstd'] }))(
  'umoci and skopeo',
  () => {
    const LOWER = EVERYTHING;
    const UPPER = [
      dir('d', { mode: 0o755 }),
      whiteout('d/file'),
      file('d/new', 'new'),
      opaque('acl'),
    ];

    async function layout(compression: 'none' | 'gzip'): Promise<string> {
      const path = join(top, 'layout');
      await bash(`umoci init --layout ${path} && umoci new --image ${path}:one`);
      const [lower, upper] = [place('lower'), place('upper')];
      await build(lower, LOWER);
      await build(upper, UPPER);
      for (const source of [
        { kind: 'tree', root: lower },
        { kind: 'changes', upper, lowers: [lower] },
      ] as const) {
        const bytes = await packed(source, { style: 'docker', compression });
        writeFileSync(join(top, 'layer.tar'), bytes);
        await bash(`umoci raw add-layer --image ${path}:one ${top}/layer.tar`);
      }
      return path;
    }

    it('unpack our layers to what they were made of', async () => {
      const path = await layout('none');
      await bash(`umoci unpack --image ${path}:one ${top}/bundle`);
      const flat = place('flat');
      const stack = { kind: 'union', layers: [join(top, 'upper'), join(top, 'lower')] } as const;
      await unpackLayer(pieces(await packed(stack, { style: 'docker' })), { root: flat });
      const [theirs, ours] = [await manifestOf(join(top, 'bundle/rootfs')), await manifestOf(flat)];
      expect(differences(theirs, ours, (path_, field) => path_ === '.' || goLacks(field))).toEqual(
        [],
      );
      expect(ours.has('d/file')).toBe(false);
    });

    it.each([
      ['gzip', '+gzip'],
      ['zstd', '+zstd'],
    ])('compress our layers with %s, and we read them', async (format, suffix) => {
      const path = await layout('none');
      await bash(
        `skopeo copy -q --dest-compress-format ${format} --dest-compress oci:${path}:one oci:${top}/other:one`,
      );
      const { layers, diffIds } = imageIn(join(top, 'other'));
      for (const [i, { bytes, mediaType }] of layers.entries()) {
        expect(mediaType).toMatch(new RegExp(`${suffix.replace('+', '\\+')}$`));
        const done = await unpacked(`layer${i}`, bytes, diffIds[i]);
        expect(done.compression).toBe(format);
      }
      const [before, after] = [
        await manifestOf(join(top, 'lower')),
        await manifestOf(join(top, 'layer0')),
      ];
      const kept: Ignore = (path_, field) =>
        path_ === '.' ||
        field === 'ns' ||
        field === 'x:trusted.t' ||
        field.startsWith('x:system.') ||
        path_ === 'acl/own';
      expect(differences(before, after, kept)).toEqual([]);
    });

    it('take what we compress: every digest is checked on the way', async () => {
      const lower = place('tree');
      await build(lower, LOWER);
      writeFileSync(join(lower, 'large'), Buffer.alloc(5_000_000, 'some text '));
      const path = place('ours');
      mkdirSync(join(path, 'blobs/sha256'), { recursive: true });
      const parts: Uint8Array[] = [];
      const layer = await packLayer(
        { kind: 'tree', root: lower },
        (bytes) => void parts.push(bytes),
        { compression: 'gzip' },
      );
      const put = (bytes: Buffer, digest: string): void =>
        writeFileSync(join(path, 'blobs/sha256', digest.slice(7)), bytes);
      put(Buffer.concat(parts), layer.digest);
      writeLayout(path, layer, put);
      await bash(
        `skopeo copy -q oci:${path}:one dir:${top}/copied && skopeo copy -q --dest-decompress oci:${path}:one dir:${top}/plain`,
      );
      const files = readdirSync(join(top, 'plain'));
      expect(files).toContain(layer.diffId.slice(7));
      await bash(`umoci unpack --image ${path}:one ${top}/bundle`);
      const [theirs, ours] = [
        await manifestOf(join(top, 'bundle/rootfs')),
        await manifestOf(lower),
      ];
      expect(differences(theirs, ours, (_, field) => goLacks(field))).toEqual([]);
    });
  },
);

/** The image around one layer. */
function writeLayout(
  path: string,
  layer: { digest: string; diffId: string; compressedSize: number },
  put: (bytes: Buffer, digest: string) => void,
): void {
  const add = (value: object): { digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    put(bytes, digest);
    return { digest, size: bytes.length };
  };
  const oci = 'application/vnd.oci.image';
  const config = add({
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
  });
  const manifest = add({
    schemaVersion: 2,
    config: { mediaType: `${oci}.config.v1+json`, ...config },
    layers: [
      { mediaType: `${oci}.layer.v1.tar+gzip`, digest: layer.digest, size: layer.compressedSize },
    ],
  });
  const annotations = { 'org.opencontainers.image.ref.name': 'one' };
  const manifests = [{ mediaType: `${oci}.manifest.v1+json`, ...manifest, annotations }];
  writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}
