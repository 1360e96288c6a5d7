/** Manifests of Docker's types in OCI's: the blobs are the same, so only words change. */
import { parseJson } from '../content/blobs.js';
import { type Descriptor, type ImageManifest, MEDIA } from '../content/documents.js';
import { checkManifest } from './checks.js';

const TO_OCI: Readonly<Record<string, string | undefined>> = {
  [MEDIA.dockerConfig]: MEDIA.config,
  [MEDIA.dockerLayer]: MEDIA.layer,
  [MEDIA.dockerLayerGzip]: MEDIA.layerGzip,
  [MEDIA.dockerLayerZstd]: MEDIA.layerZstd,
};

const convert = ({ mediaType, digest, size }: Descriptor): Descriptor => ({
  mediaType: TO_OCI[mediaType] ?? mediaType,
  digest,
  size,
});

/** The manifest as OCI has it; one that is so already, byte for byte. Throws UserError. */
export function ociManifest(data: Uint8Array): Uint8Array {
  const manifest = checkManifest(parseJson(Buffer.from(data), 'the manifest'));
  if (manifest.mediaType !== MEDIA.dockerManifest) return data;
  const converted: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: convert(manifest.config),
    layers: manifest.layers.map(convert),
  };
  return Buffer.from(JSON.stringify(converted), 'utf8');
}
