/** Images without a registry: an OCI layout as a tar, as `ctr images import` and skopeo take it. */
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { packLayer } from '../../../src/archive/pack.js';
import type { PackSource } from '../../../src/archive/types.js';
import { bash, run } from './run.js';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** A layout in `dir` that is being filled. */
class Layout {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(`${dir}/blobs/sha256`, { recursive: true });
    writeFileSync(`${dir}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  }

  json(mediaType: string, value: object): Descriptor {
    const text = JSON.stringify(value);
    const hex = createHash('sha256').update(text).digest('hex');
    writeFileSync(`${this.#dir}/blobs/sha256/${hex}`, text);
    return { mediaType, digest: `sha256:${hex}`, size: Buffer.byteLength(text) };
  }

  async layer(source: PackSource): Promise<Descriptor & { readonly diffId: string }> {
    const temporary = `${this.#dir}/layer`;
    writeFileSync(temporary, '');
    const add = (bytes: Uint8Array): void => {
      appendFileSync(temporary, bytes);
    };
    const {
      digest,
      compressedSize: size,
      diffId,
    } = await packLayer(source, add, {
      compression: 'gzip',
      level: 1,
    });
    renameSync(temporary, `${this.#dir}/blobs/sha256/${digest.slice('sha256:'.length)}`);
    return { mediaType: LAYER, digest, size, diffId };
  }
}

/** Writes the image `name` with these layers (base first) to the tar `file`. */
export async function writeImage(
  file: string,
  name: string,
  layers: readonly PackSource[],
  command: readonly string[] = ['/bin/sh'],
): Promise<void> {
  const dir = `${file}.layout`;
  const layout = new Layout(dir);
  const made = [];
  for (const source of layers) made.push(await layout.layer(source));
  const config = layout.json(CONFIG, {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: command },
    rootfs: { type: 'layers', diff_ids: made.map(({ diffId }) => diffId) },
  });
  const manifest = layout.json(MANIFEST, {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config,
    layers: made.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  });
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.split(':').at(-1),
  };
  const index = { schemaVersion: 2, mediaType: INDEX, manifests: [{ ...manifest, annotations }] };
  writeFileSync(`${dir}/index.json`, JSON.stringify(index));
  await run('tar', ['-C', dir, '-cf', file, 'oci-layout', 'index.json', 'blobs']);
  rmSync(dir, { recursive: true });
}

/** A root of busybox alone in `root`, with something to change in /etc/opt. */
export async function busyboxTree(root: string): Promise<void> {
  await bash(`mkdir -p ${root}/bin ${root}/etc/opt/sub ${root}/tmp ${root}/proc ${root}/sys ${root}/dev ${root}/root
cd ${root}; chmod 1777 tmp; install -m755 /bin/busybox bin/busybox
for a in $(/bin/busybox --list); do [ "$a" = busybox ] || ln -s busybox "bin/$a"; done
echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd; echo 'root:x:0:' > etc/group
for n in 1 2 3 4 5; do echo $n > etc/opt/f$n; echo $n > etc/opt/sub/f$n; done`);
}
