/** What the store notes about a layer: `state/layers/HEX.json`; HEX is the diff id's. */
import type { Digest } from '../state/ids.js';
import type { Manifest } from '../state/store.js';

export interface LayerRecord extends Manifest {
  /** sha256 of the uncompressed tar. */
  readonly diffId: Digest;
  /** The blob it was unpacked from, in content/; `repair` reads it. */
  readonly blob: Digest;
  readonly blobSize: number;
  readonly mediaType: string;
  /** Bytes of the uncompressed tar. */
  readonly tarSize: number;
  /** Bytes of its regular files: what Docker shows as a layer's size. */
  readonly size: number;
  readonly entries: number;
  /**
   * The diff ids it was unpacked on, bottom first. They matter where the archive implies a directory
   * that it does not describe: that is as it is below.
   */
  readonly on: readonly Digest[];
  /** RFC 3339. */
  readonly added: string;
}
