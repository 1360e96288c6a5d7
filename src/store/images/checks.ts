/**
 * Documents that others wrote, checked before anything is done with them: every field the store reads
 * has its type. Fields it does not know stay, as the bytes are the image's ID.
 */
import { UserError } from '../../base/errno.js';
import { type Digest, isDigest } from '../state/ids.js';
import {
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  MEDIA,
} from '../content/documents.js';

/** More layers than any union mounts (docs/limits: 2,000) are no image. */
const MAX_LAYERS = 2000;

type Check = (value: unknown, where: string) => void;

const wrong = (where: string, what: string): never => {
  throw new UserError(`${where} is not ${what}`);
};

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const text: Check = (value, where) => {
  if (typeof value !== 'string' || value.includes('\0')) wrong(where, 'a string');
};
const number: Check = (value, where) => {
  if (typeof value !== 'number') wrong(where, 'a number');
};
const flag: Check = (value, where) => {
  if (typeof value !== 'boolean') wrong(where, 'true or false');
};
const listOf =
  (check: Check): Check =>
  (value, where) => {
    if (!Array.isArray(value)) return wrong(where, 'a list');
    value.forEach((each, i) => {
      check(each, `${where}[${i}]`);
    });
  };
const mapOf =
  (check: Check): Check =>
  (value, where) => {
    if (!isObject(value)) return wrong(where, 'an object');
    for (const each of Object.values(value)) check(each, `a value of ${where}`);
  };
const anything: Check = () => undefined;

/** Every field may be absent or null. */
const fields =
  (table: Readonly<Record<string, Check>>): Check =>
  (value, where) => {
    if (!isObject(value)) return wrong(where, 'an object');
    for (const [name, check] of Object.entries(table)) {
      const each = Object.hasOwn(value, name) ? value[name] : undefined;
      if (each !== undefined && each !== null) check(each, `${where}.${name}`);
    }
  };

const texts = listOf(text);

const CONFIG = fields({
  created: text,
  author: text,
  architecture: text,
  variant: text,
  os: text,
  config: fields({
    User: text,
    ExposedPorts: mapOf(anything),
    Env: texts,
    Entrypoint: texts,
    Cmd: texts,
    Volumes: mapOf(anything),
    WorkingDir: text,
    Labels: mapOf(text),
    StopSignal: text,
    StopTimeout: number,
    Healthcheck: fields({
      Test: texts,
      Interval: number,
      Timeout: number,
      StartPeriod: number,
      StartInterval: number,
      Retries: number,
    }),
    OnBuild: texts,
    Shell: texts,
    ArgsEscaped: flag,
  }),
  rootfs: fields({ type: text, diff_ids: listOf(anything) }),
  history: listOf(
    fields({ created: text, created_by: text, author: text, comment: text, empty_layer: flag }),
  ),
});

/** An image's config. Throws UserError. */
export function checkConfig(value: unknown): ImageConfig {
  CONFIG(value, 'the image config');
  const config = value as Partial<ImageConfig>;
  const { rootfs } = config;
  if (rootfs?.type !== 'layers' || !Array.isArray(rootfs.diff_ids)) {
    throw new UserError('the image config has no rootfs of type layers');
  }
  if (rootfs.diff_ids.length > MAX_LAYERS) {
    throw new UserError(`the image has ${rootfs.diff_ids.length} layers: at most ${MAX_LAYERS}`);
  }
  for (const diffId of rootfs.diff_ids) digest(diffId, 'a diff id of the image config');
  return { architecture: '', os: '', ...config } as ImageConfig;
}

function digest(value: unknown, where: string): asserts value is Digest {
  if (!isDigest(value)) wrong(where, 'a sha256 digest (sha256: and 64 lower-case digits)');
}

function checkDescriptor(value: unknown, where: string): Descriptor {
  fields({
    mediaType: text,
    size: number,
    annotations: mapOf(text),
    platform: fields({ os: text, architecture: text, variant: text }),
  })(value, where);
  const descriptor = value as Partial<Descriptor>;
  digest(descriptor.digest, `the digest of ${where}`);
  const { size } = descriptor;
  if (size === undefined || !Number.isSafeInteger(size) || size < 0) {
    wrong(`the size of ${where}`, 'a number of bytes');
  }
  return { mediaType: '', ...descriptor } as Descriptor;
}

const CONFIG_TYPES: readonly string[] = [MEDIA.config, MEDIA.dockerConfig];
const LAYER_TYPES: readonly string[] = [
  MEDIA.layer,
  MEDIA.layerGzip,
  MEDIA.layerZstd,
  MEDIA.dockerLayer,
  MEDIA.dockerLayerGzip,
  MEDIA.dockerLayerZstd,
  // Layers that may not be redistributed; the bytes are the same.
  'application/vnd.oci.image.layer.nondistributable.v1.tar',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
];

/** The manifest of one image. Throws UserError. */
export function checkManifest(value: unknown): ImageManifest {
  if (!isObject(value) || value['schemaVersion'] !== 2) {
    throw new UserError('the image manifest is not of schema version 2');
  }
  const manifest = value as Partial<Record<keyof ImageManifest, unknown>>;
  const config = checkDescriptor(manifest.config, 'the config in the manifest');
  if (!CONFIG_TYPES.includes(config.mediaType)) {
    throw new UserError(
      `the manifest is of no image: its config is of type '${config.mediaType.slice(0, 100)}'`,
    );
  }
  if (!Array.isArray(manifest.layers)) return wrong('layers in the manifest', 'a list');
  const layers = manifest.layers.map((each, i) =>
    checkDescriptor(each, `layer ${i} in the manifest`),
  );
  const strange = layers.find(({ mediaType }) => !LAYER_TYPES.includes(mediaType));
  if (strange) {
    throw new UserError(`a layer is of the unknown type '${strange.mediaType.slice(0, 100)}'`);
  }
  return { ...(value as unknown as ImageManifest), config, layers };
}

/** The descriptors of an index (a list of manifests), or undefined when `value` is none. */
export function checkIndex(value: unknown): readonly Descriptor[] | undefined {
  if (!isObject(value) || !Array.isArray(value['manifests'])) return undefined;
  return value['manifests'].map((each, i) => checkDescriptor(each, `manifest ${i} of the index`));
}
