/** What is explored: an image of the store, or what a live mount is made of. */
import { display, toLatin1 } from '../../base/bytes.js';
import { errnoText, UserError } from '../../base/errno.js';
import type { Served } from '../../client/ask.js';
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from '../../sys/constants.js';
import { Unions } from '../../client/unions.js';
import { log } from '../../sys/log.js';
import { type ContainerManifest, rootfsOf } from '../containers/records.js';
import { readBlobJson } from '../content/blobs.js';
import type { ImageConfig } from '../content/documents.js';
import { loadNative } from '../../sys/native.js';
import { resolveImage } from '../images/find.js';
import { layerFormat } from '../layers/format.js';
import { type Digest, hexOf } from '../state/ids.js';
import type { Store } from '../state/store.js';

export interface LayerSource {
  /** A diff id, or a directory's path as text. */
  readonly id: string;
  /** The step that made it. */
  readonly command: string;
  readonly created: string | undefined;
  /** The layer's directory; latin1. */
  readonly path: string;
}

export interface Subject {
  readonly name: string;
  /** The bottom one first. */
  readonly layers: readonly LayerSource[];
  readonly dataLayers: readonly string[];
  readonly userxattr: boolean;
}

/** With the steps that the image's history tells of. */
function layerSources(store: Store, layers: readonly Digest[], document: unknown): LayerSource[] {
  const config = document as ImageConfig;
  const steps = (config.history ?? []).filter((each) => each.empty_layer !== true);
  return layers.map((diffId, at) => ({
    id: diffId,
    command: steps.at(at)?.created_by ?? '',
    created: steps.at(at)?.created ?? config.created,
    path: store.dataOf('layers', hexOf(diffId)),
  }));
}

/** Throws UserError when there is no such image. Hold a lease on it while its layers are read. */
export function imageSubject(store: Store, text: string): Subject {
  const { record, config } = resolveImage(store, text);
  return {
    name: text,
    layers: layerSources(store, record.layers, config),
    dataLayers: [],
    userxattr: layerFormat().userxattr,
  };
}

/** A container's image, what is mounted on in it and the image lacks, and its writable layer. */
export async function containerSubject(
  store: Store,
  container: ContainerManifest,
): Promise<Subject> {
  const { directory } = rootfsOf(store, container);
  await new Unions(log).flush(`${directory}/upper`);
  const image = layerSources(store, container.layers, readBlobJson(store, container.image));
  const own = (name: string, command: string): LayerSource => ({
    ...bare(toLatin1(`${directory}/${name}`), command),
    created: container.created,
  });
  return {
    name: container.name,
    layers: [...image, own('init', 'mount points'), own('upper', 'the container')],
    dataLayers: [],
    userxattr: layerFormat().userxattr,
  };
}

/** Pages that are still dirty in the kernel are written to the upper first. */
export function mountSubject(mount: Served): Subject {
  sync(mount.mountpoint);
  const lowers = [...mount.lowers].reverse().map((path) => bare(path, 'lower'));
  const upper = mount.upper === undefined ? [] : [bare(mount.upper, 'upper')];
  return {
    name: display(mount.mountpoint),
    layers: [...lowers, ...upper],
    dataLayers: mount.dataLayers ?? [],
    userxattr: layerFormat().userxattr,
  };
}

const bare = (path: string, command: string): LayerSource => ({
  id: display(path),
  command,
  created: undefined,
  path,
});

function sync(mountpoint: string): void {
  const native = loadNative();
  const fd = native.openat2(AT_FDCWD, mountpoint, O_RDONLY | O_DIRECTORY, 0, 0);
  const result = fd < 0 ? fd : native.syncfs(fd);
  if (fd >= 0) native.close(fd);
  if (result < 0) throw new UserError(`cannot sync ${display(mountpoint)}: ${errnoText(result)}`);
}
