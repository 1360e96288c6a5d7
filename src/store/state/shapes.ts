/**
 * The least that a manifest must say: one that is JSON, but not this, is damaged. Only what would be
 * followed blindly is looked at: digests, names, sizes.
 */
import { isDigest } from './ids.js';
import type { Kind } from './layout.js';

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const areTexts = (value: unknown): boolean =>
  Array.isArray(value) && value.every((each) => typeof each === 'string');

const areDigests = (values: readonly unknown[]): boolean => values.every(isDigest);

const SHAPES: Readonly<Partial<Record<Kind, (fields: Fields) => boolean>>> = {
  images: ({ id, manifest, ociManifest, manifestType, layers, size }) =>
    Array.isArray(layers) &&
    areDigests([id, manifest, ociManifest, ...(layers as unknown[])]) &&
    typeof manifestType === 'string' &&
    typeof size === 'number',
  layers: ({ diffId, blob, blobSize, mediaType, size, on }) =>
    Array.isArray(on) &&
    areDigests([diffId, blob, ...(on as unknown[])]) &&
    typeof mediaType === 'string' &&
    typeof blobSize === 'number' &&
    typeof size === 'number',
  repositories: ({ name, tags, digests }) =>
    typeof name === 'string' &&
    isFields(tags) &&
    isFields(digests) &&
    areDigests([...Object.values(tags), ...Object.values(digests)]),
};

/** Whether a parsed manifest can be one of its kind. */
export function hasShape(kind: Kind, value: unknown): boolean {
  if (!isFields(value)) return false;
  const { uses } = value;
  return (uses === undefined || areTexts(uses)) && (SHAPES[kind]?.(value) ?? true);
}
