/** What `image inspect` says, in Docker's keys. */
import { blobPath } from '../content/blobs.js';
import type { Store } from '../state/store.js';
import { namesOf, resolveImage } from './find.js';
import type { RunConfig } from '../content/documents.js';
import { familiar, parseReference } from './reference.js';

const shown = (name: string): string => familiar(parseReference(name));

/** Every key that Docker's answers have, also where the image says nothing. */
function runConfig(config: RunConfig): object {
  return {
    Hostname: '',
    Domainname: '',
    User: config.User ?? '',
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    ...(config.ExposedPorts ? { ExposedPorts: config.ExposedPorts } : {}),
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: config.Env ?? null,
    Cmd: config.Cmd ?? null,
    ...(config.Healthcheck ? { Healthcheck: config.Healthcheck } : {}),
    Image: '',
    Volumes: config.Volumes ?? null,
    WorkingDir: config.WorkingDir ?? '',
    Entrypoint: config.Entrypoint ?? null,
    OnBuild: config.OnBuild ?? null,
    Labels: config.Labels ?? null,
    ...(config.StopSignal === undefined ? {} : { StopSignal: config.StopSignal }),
    ...(config.Shell ? { Shell: config.Shell } : {}),
  };
}

/** The document for one image. Throws UserError when there is none. */
export function inspectImage(store: Store, text: string): object {
  const { id, record, config, layers } = resolveImage(store, text);
  const { tags, digests } = namesOf(store, id);
  const comment = config.history?.at(-1)?.comment ?? '';
  return {
    Id: id,
    RepoTags: tags.map(shown),
    RepoDigests: digests.map(shown),
    Parent: record.parent ?? '',
    Comment: comment,
    Created: config.created ?? '',
    DockerVersion: '',
    Author: config.author ?? '',
    Config: runConfig(config.config ?? {}),
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: record.size,
    VirtualSize: record.size,
    GraphDriver: { Name: 'stratafs', Data: graphData(layers) },
    RootFS: { Type: 'layers', Layers: record.layers },
    Metadata: { LastTagTime: record.added },
    Digest: record.manifest,
    ManifestType: record.manifestType,
    ConfigPath: blobPath(store, id),
  };
}

/** The directories a mount of the image takes. */
function graphData(layers: readonly string[]): object {
  const [top, ...lower] = layers.map((path) => Buffer.from(path, 'latin1').toString('utf8'));
  return {
    ...(lower.length === 0 ? {} : { LowerDir: lower.join(':') }),
    ...(layers.length === 0 ? {} : { UpperDir: top }),
  };
}
