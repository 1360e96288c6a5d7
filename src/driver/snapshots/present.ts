/** The mounts by which a client gets at a snapshot. */
import type { MountOptions } from '../../client/mount.js';
import type { Mount } from '../snapshotter.js';
import type { Home } from './home.js';
import { mappingOptions } from './labels.js';
import type { Shown, Snapshot } from './records.js';

/** Who mounts unions: this snapshotter, or the client by mount.fuse3 (`fuse3.stratafs`). */
export type Presentation = 'bind' | 'fuse3';

/** A key of containerd's and BuildKit's unpackers (UnpackKeyFormat), its namespace before it. */
const UNPACKING = /(?:^|\/)extract-[^/]*$/;

export function chooseShown(
  wanted: Pick<Snapshot, 'kind' | 'name' | 'labels'> & { readonly hasParent: boolean },
  presentation: Presentation,
  mayUnpack: boolean,
): Shown {
  const mapped = mappingOptions(wanted.labels).length > 0;
  if (mayUnpack && !mapped && wanted.kind === 'active' && UNPACKING.test(wanted.name)) {
    return 'unpack';
  }
  if (!wanted.hasParent && !mapped) return 'upper';
  return presentation === 'bind' ? 'union' : 'helper';
}

/** The layers below a snapshot, topmost first; an empty directory where there is none. */
const lowersOf = (home: Home, parents: readonly Snapshot[]): string[] =>
  parents.length === 0 ? [home.empty] : parents.map(({ id }) => home.part(id, 'fs'));

/** How the union of a snapshot is mounted, by us. */
export function unionOf(
  home: Home,
  snapshot: Pick<Snapshot, 'id' | 'kind' | 'labels'>,
  parents: readonly Snapshot[],
): MountOptions & { readonly mountpoint: string } {
  const { id } = snapshot;
  const common = {
    lower: lowersOf(home, parents),
    mountpoint: home.part(id, 'merged'),
    options: mappingOptions(snapshot.labels),
  };
  if (snapshot.kind === 'view') return common;
  return { ...common, upper: home.part(id, 'fs'), work: home.part(id, 'work') };
}

/** What a client is told to mount. */
export function present(
  home: Home,
  snapshot: Pick<Snapshot, 'id' | 'kind' | 'labels' | 'shown'>,
  parents: readonly Snapshot[],
): readonly Mount[] {
  const { id, kind, shown } = snapshot;
  const access = kind === 'view' ? 'ro' : 'rw';
  const bind = (source: string): Mount[] => [{ type: 'bind', source, options: [access, 'rbind'] }];
  if (shown === 'upper') return bind(home.part(id, 'fs'));
  if (shown === 'union') return bind(home.part(id, 'merged'));
  const lowers = `lowerdir=${lowersOf(home, parents).join(':')}`;
  const writable = [`workdir=${home.part(id, 'work')}`, `upperdir=${home.part(id, 'fs')}`, lowers];
  if (shown === 'unpack') {
    // Who mounts it all the same shall read what a container of ours has left in a layer.
    const features = ['index=off', 'redirect_dir=on', 'metacopy=on'];
    return [{ type: 'overlay', source: 'overlay', options: [...writable, ...features] }];
  }
  const options = kind === 'view' ? [lowers] : writable;
  const mapping = mappingOptions(snapshot.labels);
  return [{ type: 'fuse3.stratafs', source: 'overlay', options: [...options, ...mapping] }];
}
