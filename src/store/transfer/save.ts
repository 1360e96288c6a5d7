/**
 * `save`: images as a file. The default is both a docker-archive and an OCI layout in one tar, as Docker
 * itself writes since version 25: manifest.json and index.json over the same blobs, byte for byte the
 * store's. podman, skopeo and Docker of any age take it.
 */
import {
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { BLOCK, type HeaderFields, OCTAL_12, padding, writeHeader } from '../../archive/header.js';
import { record } from '../../archive/pax.js';
import { display } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { blobPath, blobSize, parseJson, readBlob, sha256 } from '../content/blobs.js';
import { readBlobStream } from '../content/ingest.js';
import { checkManifest } from '../images/checks.js';
import { type Descriptor, type ImageManifest, MEDIA } from '../content/documents.js';
import { mustFindImage, namesOf, readImage } from '../images/find.js';
import { LAYOUT_FILE, REFERENCE_NAME } from '../images/layoutIndex.js';
import { familiar, parseReference, repositoryName, withDefaultTag } from '../images/reference.js';
import { type Digest, hexOf } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { indexText, writeLayout } from './layout.js';

/** `both`: docker-archive and OCI layout in one tar. `oci`: only the layout. */
export type SaveFormat = 'both' | 'oci';

interface Saved {
  readonly id: Digest;
  readonly manifest: Buffer;
  readonly parsed: ImageManifest;
  /** Full names: `docker.io/library/debian:12`. */
  readonly names: string[];
}

/** What is to be saved: an image named by tag with that tag, one named by ID with all its tags or none. */
function collect(store: Store, lease: Lease, texts: readonly string[]): Saved[] {
  const found = new Map<Digest, Saved>();
  for (const text of texts) {
    const id = mustFindImage(store, text);
    lease.keep(`images/${hexOf(id)}`);
    const manifest = readBlob(store, readImage(store, id).ociManifest);
    const parsed = checkManifest(parseJson(manifest, 'the manifest'));
    const saved = found.get(id) ?? { id, manifest, parsed, names: [] };
    found.set(id, saved);
    for (const name of namesFor(store, text, id)) {
      if (!saved.names.includes(name)) saved.names.push(name);
    }
  }
  return [...found.values()];
}

function namesFor(store: Store, text: string, id: Digest): string[] {
  const hex = text.replace(/^sha256:/, '');
  if (/^[0-9a-f]+$/.test(hex) && hexOf(id).startsWith(hex)) return [];
  const reference = withDefaultTag(parseReference(text));
  if (reference.digest !== undefined) return [];
  const { tags } = namesOf(store, id);
  const name = `${repositoryName(reference)}:${reference.tag ?? ''}`;
  return tags.filter((tag) => tag === name);
}

function describe({ manifest, names }: Saved): Descriptor[] {
  const descriptor: Descriptor = {
    mediaType: MEDIA.manifest,
    digest: sha256(manifest),
    size: manifest.length,
  };
  if (names.length === 0) return [descriptor];
  return names.map((name) => ({
    ...descriptor,
    annotations: { 'io.containerd.image.name': name, [REFERENCE_NAME]: name },
  }));
}

const blobName = (digest: Digest): string => `blobs/sha256/${hexOf(digest)}`;

/** manifest.json of a docker-archive. */
function dockerManifest(images: readonly Saved[]): string {
  return JSON.stringify(
    images.map(({ parsed, names }) => ({
      Config: blobName(parsed.config.digest),
      RepoTags: names.length === 0 ? null : names.map((name) => familiar(parseReference(name))),
      Layers: parsed.layers.map(({ digest }) => blobName(digest)),
    })),
  );
}

/** Writes the pieces of an archive; resolves when the next one may come. */
type Write = (chunk: Uint8Array) => Promise<void>;

class TarWriter {
  readonly #write: Write;

  constructor(write: Write) {
    this.#write = write;
  }

  async directory(name: string): Promise<void> {
    await this.#header(`${name}/`, '5', 0o755, 0);
  }

  async text(name: string, text: string): Promise<void> {
    const data = Buffer.from(text, 'utf8');
    await this.#header(name, '0', 0o644, data.length);
    await this.#write(data);
    await this.#pad(data.length);
  }

  async stream(name: string, size: number, source: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#header(name, '0', 0o644, size);
    let written = 0;
    for await (const chunk of source) {
      written += chunk.length;
      await this.#write(chunk);
    }
    if (written !== size)
      throw new UserError(`${name} changed while it was read: run stratafs fsck`);
    await this.#pad(size);
  }

  async end(): Promise<void> {
    await this.#write(Buffer.alloc(2 * BLOCK));
  }

  async #header(name: string, type: string, mode: number, size: number): Promise<void> {
    const owner = { mode, uid: 0, gid: 0, mtime: 0 };
    if (size > OCTAL_12) {
      const records = Buffer.from(record('size', String(size)), 'latin1');
      const extended = { ...owner, type: 'x', name: 'PaxHeaders/blob', size: records.length };
      await this.#block(extended);
      await this.#write(records);
      await this.#pad(records.length);
    }
    await this.#block({ ...owner, type, name, size });
  }

  async #block(fields: HeaderFields): Promise<void> {
    const block = Buffer.alloc(BLOCK);
    writeHeader(block, 0, fields);
    await this.#write(block);
  }

  async #pad(size: number): Promise<void> {
    if (padding(size) > 0) await this.#write(Buffer.alloc(padding(size)));
  }
}

async function writeBlobs(store: Store, tar: TarWriter, images: readonly Saved[]): Promise<void> {
  const done = new Set<Digest>();
  for (const { manifest, parsed } of images) {
    if (!done.has(sha256(manifest))) {
      await tar.text(blobName(sha256(manifest)), manifest.toString('utf8'));
      done.add(sha256(manifest));
    }
    for (const { digest, size } of [parsed.config, ...parsed.layers]) {
      if (done.has(digest)) continue;
      await tar.stream(blobName(digest), size, readBlobStream(store, digest));
      done.add(digest);
    }
  }
}

/** Writes images as one tar. Throws UserError. */
export async function saveImages(
  store: Store,
  texts: readonly string[],
  format: SaveFormat,
  write: Write,
): Promise<void> {
  const lease = await store.lease();
  try {
    const images = await store.locked(() => collect(store, lease, texts));
    const tar = new TarWriter(write);
    await tar.directory('blobs');
    await tar.directory('blobs/sha256');
    await writeBlobs(store, tar, images);
    await tar.text('index.json', indexText(images.flatMap(describe)));
    if (format === 'both') await tar.text('manifest.json', dockerManifest(images));
    await tar.text('oci-layout', LAYOUT_FILE);
    await tar.end();
  } finally {
    lease.release();
  }
}

/** Writes images as an OCI layout: a directory that is empty or not there yet. Throws UserError. */
export async function saveDirectory(
  store: Store,
  texts: readonly string[],
  directory: string,
): Promise<void> {
  if (existsSync(bytes(directory)) && readdirSync(bytes(directory)).length > 0) {
    throw new UserError(`${display(directory)} is not empty: give a new directory`);
  }
  const lease = await store.lease();
  try {
    const images = await store.locked(() => collect(store, lease, texts));
    mkdirSync(bytes(`${directory}/blobs/sha256`), { recursive: true, mode: 0o755 });
    for (const { parsed, manifest } of images) {
      writeFileSync(bytes(`${directory}/${blobName(sha256(manifest))}`), manifest);
      for (const { digest } of [parsed.config, ...parsed.layers]) {
        if (blobSize(store, digest) === undefined) readBlobStream(store, digest);
        const target = bytes(`${directory}/${blobName(digest)}`);
        copyFileSync(bytes(blobPath(store, digest)), target, constants.COPYFILE_FICLONE);
      }
    }
    // Last: without an index the directory is no layout.
    writeLayout(directory, images.flatMap(describe));
  } finally {
    lease.release();
  }
}
