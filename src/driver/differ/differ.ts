/**
 * Layers of containerd, to and from the directories of snapshots, without a mount and without a walk
 * over the whole tree: `apply` unpacks an archive into the directory that will be the layer, `diff`
 * packs what an upper has changed.
 *
 * Only what is asked of snapshots of ours can be done so. Everything else is refused as not
 * implemented, and containerd asks the next differ of its list, `walking`.
 */
import { packLayer } from '../../archive/pack.js';
import type { PackSource, Style, UnpackOptions } from '../../archive/types.js';
import { unpackLayer } from '../../archive/unpack.js';
import { toLatin1 } from '../../base/bytes.js';
import { readdir } from 'node:fs/promises';
import type { Snapshots } from '../snapshots/snapshots.js';
import { DriverError, type Mount } from '../snapshotter.js';
import type { Blob, Caller, Content } from './content.js';
import { isSnapshot, layersOf } from './layers.js';

interface ApplyRequest {
  readonly blob: Blob;
  readonly mounts: readonly Mount[];
  /** It goes through programs of containerd first (stream processors), to be decrypted for example. */
  readonly processed: boolean;
  /** What was unpacked must be on the disk before the answer. */
  readonly sync: boolean;
}

interface DiffRequest {
  readonly left: readonly Mount[];
  readonly right: readonly Mount[];
  /** Empty: gzip. */
  readonly mediaType: string;
  readonly ref: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Seconds since 1970. */
  readonly sourceDateEpoch?: number;
}

const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const GZIP_LAYER = `${LAYER}+gzip`;
/** Plain, gzip and zstd, of OCI and of Docker. */
const UNPACKABLE =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.gzip|\.zstd)?)$/;
/** Where containerd looks for the digest of the tar in a compressed blob. */
const UNCOMPRESSED = 'containerd.io/uncompressed';

const notOurs = (what: string): DriverError => new DriverError('not-implemented', what);

export class Differ {
  readonly #snapshots: Snapshots;
  readonly #content: Content;
  readonly #style: Style;

  constructor(snapshots: Snapshots, content: Content, style: Style) {
    this.#snapshots = snapshots;
    this.#content = content;
    this.#style = style;
  }

  /** Returns what the archive is without compression. */
  async apply({ blob, mounts, processed, sync }: ApplyRequest, caller: Caller): Promise<Blob> {
    if (processed || !UNPACKABLE.test(blob.mediaType)) {
      throw notOurs(`a layer of type ${blob.mediaType} is for another differ`);
    }
    const layers = layersOf(this.#snapshots, mounts);
    const id = layers?.at(0);
    if (id === undefined) throw notOurs('these mounts are none of a stratafs snapshot');
    const unpacked = await this.#snapshots.withUpper(id, async ({ kind, shown }, upper, lowers) => {
      const direct = kind === 'active' && (shown === 'upper' || shown === 'unpack');
      if (!direct) throw notOurs('this snapshot is mounted: it is written to through its mount');
      const empty = (await readdir(upper)).length === 0;
      if (shown === 'unpack' && !empty) throw notOurs('this snapshot is not empty');
      const options: UnpackOptions = {
        root: toLatin1(upper),
        lowers: lowers.map(toLatin1),
        whiteouts: shown === 'unpack' ? 'overlay' : 'apply',
        expect: { digest: blob.digest, size: blob.size },
        // Otherwise the commit syncs what has been written until then.
        sync,
        signal: caller.signal,
      };
      return unpackLayer(this.#content.read(blob.digest, caller), options);
    });
    return { mediaType: LAYER, digest: unpacked.diffId, size: unpacked.size };
  }

  /** Uploads an archive of what `right` changes against `left`. */
  async diff(request: DiffRequest, caller: Caller): Promise<Blob> {
    const mediaType = request.mediaType === '' ? GZIP_LAYER : request.mediaType;
    if (mediaType !== LAYER && mediaType !== GZIP_LAYER) {
      throw notOurs(`a layer of type ${mediaType} is for another differ`);
    }
    const source = this.#changes(request.left, request.right);
    return this.#snapshots.withUpper(source.top, async ({ kind }) => {
      if (kind === 'active') await this.#snapshots.flush(source.top);
      return this.#upload(source.pack, mediaType, request, caller);
    });
  }

  #changes(left: readonly Mount[], right: readonly Mount[]): { top: number; pack: PackSource } {
    const [below, all] = [layersOf(this.#snapshots, left), layersOf(this.#snapshots, right)];
    if (!below || !all) throw notOurs('these mounts are none of a stratafs snapshot');
    const changed = all.slice(0, all.length - below.length);
    const top = changed.at(0);
    const sameBelow = below.every((id, at) => id === all[changed.length + at]);
    if (!sameBelow || top === undefined || !isSnapshot(this.#snapshots, top)) {
      throw notOurs('one of these snapshots is not below the other');
    }
    const paths = all.map((id) => toLatin1(this.#snapshots.home.part(id, 'fs')));
    if (below.length === 0) return { top, pack: { kind: 'union', layers: paths } };
    if (changed.length > 1) throw notOurs('more than one layer lies between these snapshots');
    return { top, pack: { kind: 'changes', upper: paths[0], lowers: paths.slice(1) } };
  }

  async #upload(
    source: PackSource,
    mediaType: string,
    { ref, labels, sourceDateEpoch }: DiffRequest,
    caller: Caller,
  ): Promise<Blob> {
    const upload = await this.#content.upload(ref, caller);
    try {
      const packed = await packLayer(source, (bytes) => upload.write(bytes), {
        compression: mediaType === GZIP_LAYER ? 'gzip' : 'none',
        style: this.#style,
        signal: caller.signal,
        ...(sourceDateEpoch === undefined ? {} : { sourceDateEpoch }),
      });
      const { digest, compressedSize, diffId } = packed;
      await upload.commit(digest, { ...labels, [UNCOMPRESSED]: diffId });
      return { mediaType, digest, size: compressedSize };
    } catch (error) {
      await upload.abandon();
      throw error;
    }
  }
}
