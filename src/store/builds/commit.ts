/** `commit`: what a container has changed becomes a layer, and with its image's layers an image. */
import { packLayer } from '../../archive/pack.js';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { Unions } from '../../client/unions.js';
import { log } from '../../sys/log.js';
import { withLease } from '../collect/work.js';
import { pauseContainer, unpauseContainer } from '../containers/end.js';
import { type ContainerManifest, rootfsOf } from '../containers/records.js';
import { lowersOf } from '../containers/rootfs.js';
import { currentState } from '../containers/state.js';
import { readBlobJson } from '../content/blobs.js';
import type { ImageConfig, RunConfig } from '../content/documents.js';
import { addImage } from '../images/add.js';
import { applyChanges } from '../images/changes.js';
import type { Reference } from '../images/reference.js';
import { setReference } from '../images/tags.js';
import { blobOf } from '../layers/add.js';
import { layerFormat } from '../layers/format.js';
import { makeLayer } from '../layers/make.js';
import type { LayerRecord } from '../layers/records.js';
import { type Digest, hexOf } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { creationTime } from '../transfer/rootfs.js';

interface CommitOptions {
  readonly author: string | undefined;
  readonly message: string | undefined;
  /** Instructions of a Dockerfile. */
  readonly changes: readonly string[];
  /** Processes stand still meanwhile. */
  readonly pause: boolean;
  readonly reference: Reference | undefined;
}

/** Runs `act` while the container's processes stand still; those that did before go on standing. */
async function standing<T>(
  store: Store,
  container: ContainerManifest,
  pause: boolean,
  act: () => Promise<T>,
): Promise<T> {
  const { state } = currentState(store, container.id);
  if (!pause || state.status !== 'running') return act();
  await pauseContainer(store, container);
  try {
    return await act();
  } finally {
    await unpauseContainer(store, container);
  }
}

/** The writable layer as a layer of its own: redirects followed, metadata-only copies with their data. */
async function layerOf(
  store: Store,
  lease: Lease,
  container: ContainerManifest,
): Promise<LayerRecord> {
  const rootfs = rootfsOf(store, container);
  const upper = `${rootfs.directory}/upper`;
  // What processes have written and the kernel has not: it lies in the upper when this returns.
  await new Unions(log).flush(upper);
  const { userxattr } = layerFormat();
  const lowers = lowersOf(rootfs).map(toLatin1);
  const source = { kind: 'changes', upper: toLatin1(upper), lowers, userxattr } as const;
  return makeLayer(store, lease, container.layers, (sink) => packLayer(source, sink));
}

/** What of a container's settings is no image's. */
const OWN = ['Hostname', 'Tty', 'OpenStdin', 'Image'];

/** The image's settings as the container has them: what `run` was told lasts. */
function settingsOf({ config }: ContainerManifest, image: RunConfig): RunConfig {
  const lasting = Object.entries(config).filter(([key]) => !OWN.includes(key));
  return { ...image, ...Object.fromEntries(lasting) };
}

function configOf(
  image: ImageConfig,
  container: ContainerManifest,
  layer: LayerRecord,
  options: CommitOptions,
): ImageConfig {
  const created = creationTime();
  const { author, message, changes } = options;
  const config = applyChanges(settingsOf(container, image.config ?? {}), changes);
  const command = [...(container.config.Entrypoint ?? []), ...(container.config.Cmd ?? [])];
  const step = {
    created,
    created_by: command.join(' '),
    ...(author === undefined ? {} : { author }),
    ...(message === undefined ? {} : { comment: message }),
  };
  return {
    ...image,
    created,
    ...(author === undefined ? {} : { author }),
    config,
    rootfs: { type: 'layers', diff_ids: [...container.layers, layer.diffId] },
    history: [...(image.history ?? []), step],
  };
}

/** Makes an image of a container; resolves with its ID. Throws UserError. */
export async function commitContainer(
  store: Store,
  container: ContainerManifest,
  options: CommitOptions,
): Promise<Digest> {
  // Before the long part: a wrong change costs nothing.
  applyChanges({}, options.changes);
  return withLease(store, async (lease) => {
    await store.locked(() => {
      if (!store.has('containers', container.id)) {
        throw new UserError(`No such container: ${container.name}`);
      }
      lease.keep(`containers/${container.id}`);
      for (const each of container.layers) lease.keep(`layers/${hexOf(each)}`);
      lease.keep(`blobs/${hexOf(container.image)}`);
    });
    const image = readBlobJson(store, container.image) as ImageConfig;
    const layer = await standing(store, container, options.pause, () =>
      layerOf(store, lease, container),
    );
    const config = configOf(image, container, layer, options);
    const id = await addImage(store, lease, {
      config: Buffer.from(JSON.stringify(config), 'utf8'),
      layers: config.rootfs.diff_ids.map((diffId) => () => Promise.resolve(blobOf(store, diffId))),
      ...(store.has('images', hexOf(container.image)) ? { parent: container.image } : {}),
    });
    const { reference } = options;
    if (reference) await store.locked(() => setReference(store, reference, id));
    return id;
  });
}
