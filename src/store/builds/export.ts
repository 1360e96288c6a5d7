/** The end of a build: config, image, names. */
import type { ImageConfig, RunConfig } from '../content/documents.js';
import { addImage } from '../images/add.js';
import { canonical } from '../images/reference.js';
import { setReference } from '../images/tags.js';
import { blobOf } from '../layers/add.js';
import type { Digest } from '../state/ids.js';
import type { BuildScope, StageResult } from './scope.js';
import { squash } from './squash.js';

/** Without what is empty: an image built twice is the same, however its settings came about. */
function tidy(config: RunConfig): RunConfig {
  return Object.fromEntries(
    Object.entries(config).filter(
      ([, value]) => value !== undefined && value !== null && value !== '',
    ),
  );
}

export async function exportImage(build: BuildScope, stage: StageResult): Promise<Digest> {
  const { store, lease, options } = build;
  const { created } = stage;
  const vertex = options.progress.begin('exporting to image');
  try {
    const { layers, history } = options.squash ? await squash(build, stage) : stage;
    const labels = { ...stage.config.Labels, ...Object.fromEntries(options.labels) };
    const config: ImageConfig = {
      created,
      ...(stage.author === undefined ? {} : { author: stage.author }),
      architecture: stage.base.config.architecture,
      ...(stage.base.config.variant === undefined ? {} : { variant: stage.base.config.variant }),
      os: stage.base.config.os,
      config: tidy({
        ...stage.config,
        ...(Object.keys(labels).length > 0 ? { Labels: labels } : {}),
      }),
      rootfs: { type: 'layers', diff_ids: layers },
      history,
    };
    const id = await addImage(store, lease, {
      config: Buffer.from(JSON.stringify(config), 'utf8'),
      layers: layers.map((diffId) => () => Promise.resolve(blobOf(store, diffId))),
      ...(stage.base.id === undefined ? {} : { parent: stage.base.id }),
    });
    vertex.output(`writing image ${id} done\n`);
    for (const tag of options.tags) {
      await store.locked(() => setReference(store, tag, id));
      vertex.output(`naming to ${canonical(tag)} done\n`);
    }
    vertex.done();
    return id;
  } catch (error) {
    vertex.failed(error instanceof Error ? error.message : String(error));
    throw error;
  }
}
