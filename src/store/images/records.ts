/** What the store notes about images and repositories: their manifests in `state/`. */
import type { Digest } from '../state/ids.js';
import type { Manifest } from '../state/store.js';

/** `state/images/HEX.json`; HEX is the config's digest. */
export interface ImageRecord extends Manifest {
  readonly id: Digest;
  /** The manifest as it came, in content/, over blobs that are there; of OCI's or of Docker's types. */
  readonly manifest: Digest;
  readonly manifestType: string;
  /** The same in OCI's types, for layouts; often the same one. */
  readonly ociManifest: Digest;
  /** Diff ids, bottom first. */
  readonly layers: readonly Digest[];
  /** The image this one was built or committed from. */
  readonly parent?: Digest;
  /** When it came into this store, RFC 3339. */
  readonly added: string;
  /** Bytes of the unpacked files of all layers. */
  readonly size: number;
}

/** `state/repositories/HEX.json`; HEX is the sha256 of the repository's full name. */
export interface RepositoryRecord extends Manifest {
  /** `docker.io/library/debian`. */
  readonly name: string;
  /** The image of each tag. */
  readonly tags: Readonly<Record<string, Digest>>;
  /** The image of each manifest digest it was pulled or pushed by: Docker's RepoDigests. */
  readonly digests: Readonly<Record<string, Digest>>;
}
