/** From mounts, as a client hands them back, to the layers that they show. */
import type { Snapshots } from '../snapshots/snapshots.js';
import type { Mount } from '../snapshotter.js';

/** The snapshot exists. */
export const isSnapshot = (snapshots: Snapshots, id: number): boolean =>
  snapshots.records.byId(id) !== undefined;

/** The IDs of the layers that `mounts` show, topmost first; undefined when they are not all ours. */
export function layersOf(snapshots: Snapshots, mounts: readonly Mount[]): number[] | undefined {
  if (mounts.length !== 1) return undefined;
  const [{ type, source, options }] = mounts;
  if (type === 'bind') return layersOfBind(snapshots, source);
  if (type === 'overlay' || type === 'fuse3.stratafs') return layersOfOptions(snapshots, options);
  return undefined;
}

function layersOfBind(snapshots: Snapshots, source: string): number[] | undefined {
  const found = snapshots.home.find(source);
  const snapshot = found && snapshots.records.byId(found.id);
  if (!snapshot || found.part === 'work') return undefined;
  const parents = snapshots.records.parents(snapshot).map(({ id }) => id);
  return snapshot.kind === 'view' ? parents : [snapshot.id, ...parents];
}

function layersOfOptions(snapshots: Snapshots, options: readonly string[]): number[] | undefined {
  const value = (name: string): string[] =>
    options.flatMap((option) =>
      option.startsWith(`${name}=`) ? [option.slice(name.length + 1)] : [],
    );
  const lowers = value('lowerdir').flatMap((list) => list.split(':'));
  const paths = [...value('upperdir'), ...lowers.filter((path) => path !== snapshots.home.empty)];
  const found = paths.map((path) => snapshots.home.find(path));
  if (!found.every((each) => each?.part === 'fs')) return undefined;
  return found.flatMap((each) => (each ? [each.id] : []));
}
