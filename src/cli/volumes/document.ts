/** Docker's JSON of a volume. */
import type { Store } from '../../store/state/store.js';
import { type VolumeManifest, volumePath } from '../../store/volumes/records.js';

export function volumeDocument(store: Store, volume: VolumeManifest): object {
  const { name, created, labels, options } = volume;
  return {
    CreatedAt: created,
    Driver: 'local',
    Labels: Object.keys(labels).length === 0 ? null : labels,
    Mountpoint: volumePath(store, name),
    Name: name,
    Options: Object.keys(options).length === 0 ? null : options,
    Scope: 'local',
  };
}
