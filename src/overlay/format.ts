/**
 * Decides what the upper may hold (`format`). Other drivers read the stores of podman, buildah and Docker:
 * their tools fall back to them silently. Those drivers know whiteouts and `opaque`, but no redirects, no
 * metadata-only copies and no index. So an upper in such a store is plain by default.
 */
import { AT_FDCWD, STATX_TYPE } from '../sys/constants.js';
import type { Sys } from '../sys/sys.js';
import type { OverlaySpec } from './spec.js';

/** The spec with what its format means for the other options. */
export function withFormat(sys: Sys, asked: OverlaySpec): OverlaySpec {
  const upper = asked.upper ?? '';
  const stored = inStore(sys, upper);
  const spec = stored || OF_VOLUME.test(upper) ? { ...asked, ownerless: 'nobody' as const } : asked;
  const format = spec.format ?? (stored ? 'plain' : 'overlay');
  if (format === 'overlay') return { ...spec, format };
  return { ...spec, format, redirectDir: 'follow', metacopy: false, index: 'off' };
}

/**
 * The upper of `-v DIR:/x:O` and `--rootfs DIR:O` of podman and buildah (common/pkg/overlay): DIR may be the
 * machine's, and a container of an ordinary user is to change its view of it.
 */
const OF_VOLUME = /\/overlay-containers\/[^/]+\/(userdata\/overlay\/[^/]+|rootfs)\/upper$/;

/**
 * `STORE/ID/diff` with `STORE/ID/link` beside it and `STORE/l`: how containers/storage and Docker lay out
 * a layer (storage/drivers/overlay, daemon/graphdriver/fuse-overlayfs).
 */
function inStore(sys: Sys, upper: string): boolean {
  const match = /^(.*)\/[^/]+\/diff$/.exec(upper);
  if (!match) return false;
  return exists(sys, `${upper.slice(0, -'diff'.length)}link`) && exists(sys, `${match[1]}/l`);
}

/**
 * The layer is one of containers/storage with a mount program, which podman, buildah and CRI-O compare with
 * others: they take a file system without xattrs for one whose objects have none. containerd's differ does not.
 */
export function comparedByStorage(sys: Sys, layer: string): boolean {
  const match = /^(.*)\/[^/]+\/diff$/.exec(layer);
  return match !== null && exists(sys, `${match[1]}/.has-mount-program`);
}

/** Any failure is a "no": the default then is the full format, which loses nothing. */
const exists = (sys: Sys, path: string): boolean =>
  sys.statName(AT_FDCWD, path, sys.stats.probe, STATX_TYPE) >= 0;
