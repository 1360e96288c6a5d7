/** An OCI layout of some of the store's images, over the store's own blobs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { bytes } from '../../sys/paths.js';
import { type Descriptor, MEDIA } from '../content/documents.js';
import { LAYOUT_FILE } from '../images/layoutIndex.js';

/** Writes `oci-layout` and `index.json`; the blobs are elsewhere, or come later. */
export function writeLayout(directory: string, manifests: readonly Descriptor[]): void {
  mkdirSync(bytes(directory), { recursive: true, mode: 0o755 });
  writeFileSync(bytes(`${directory}/oci-layout`), LAYOUT_FILE);
  writeFileSync(bytes(`${directory}/index.json`), indexText(manifests));
}

export const indexText = (manifests: readonly Descriptor[]): string =>
  JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.index, manifests });
