/** The image that FROM, --from or from= names: here, or in its registry. */
import { UserError } from '../../base/errno.js';
import { readBlobJson } from '../content/blobs.js';
import type { ImageConfig } from '../content/documents.js';
import { findImage, readImage } from '../images/find.js';
import { ownPlatform, type Platform, platformText } from '../images/platform.js';
import { parseReference, withDefaultTag } from '../images/reference.js';
import { type Digest, hexOf } from '../state/ids.js';
import { pullImage } from '../transfer/pull.js';
import type { Base, BuildScope } from './scope.js';

const fits = (config: ImageConfig, platform: Platform): boolean =>
  config.os === platform.os &&
  config.architecture === platform.architecture &&
  (platform.variant === undefined || config.variant === platform.variant);

async function known(build: BuildScope, name: string): Promise<Digest | undefined> {
  const { store, lease } = build;
  return store.locked(() => {
    const id = findImage(store, name);
    if (id !== undefined) lease.keep(`images/${hexOf(id)}`);
    return id;
  });
}

async function fetched(
  build: BuildScope,
  name: string,
  platform: Platform | undefined,
): Promise<Digest> {
  const { store, lease, options } = build;
  const vertex = options.progress.begin(`[internal] load metadata for ${name}`);
  try {
    const { id } = await pullImage(store, withDefaultTag(parseReference(name)), {
      ...options.registry,
      ...(platform === undefined ? {} : { platform }),
    });
    await store.locked(() => {
      lease.keep(`images/${hexOf(id)}`);
    });
    vertex.done();
    return id;
  } catch (error) {
    vertex.failed(error instanceof Error ? error.message : String(error));
    throw error;
  }
}

/** Throws UserError when there is no such image for the platform. The lease keeps it. */
export async function baseImage(
  build: BuildScope,
  name: string,
  platform: Platform | undefined = build.options.platform,
): Promise<Base> {
  if (name === 'scratch') {
    const { os, architecture, variant } = platform ?? ownPlatform();
    const config: ImageConfig = {
      os,
      architecture,
      ...(variant === undefined ? {} : { variant }),
      rootfs: { type: 'layers', diff_ids: [] },
    };
    return { id: undefined, config, layers: [] };
  }
  const { store, options } = build;
  let id = options.pull ? await fetched(build, name, platform) : await known(build, name);
  const configOf = (image: Digest): ImageConfig => readBlobJson(store, image) as ImageConfig;
  if (id === undefined || (platform && !fits(configOf(id), platform))) {
    id = await fetched(build, name, platform);
  }
  const config = configOf(id);
  if (platform && !fits(config, platform)) {
    throw new UserError(`the image ${name} is not for ${platformText(platform)}`);
  }
  return { id, config, layers: readImage(store, id).layers };
}
