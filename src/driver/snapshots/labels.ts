/** Labels that mean something to a snapshotter (core/snapshots/snapshotter.go of containerd). */
import { DriverError, type Labels } from '../snapshotter.js';

/** The chain ID of the layer that will be unpacked into the snapshot. */
export const SNAPSHOT_REF = 'containerd.io/snapshot.ref';
/** Most bytes that a snapshot's changes should take: a hint. */
export const MAX_SIZE = 'containerd.io/snapshot/max-size';
const UID_MAPPING = 'containerd.io/snapshot/uidmapping';
const GID_MAPPING = 'containerd.io/snapshot/gidmapping';

/** A key and its value together (pkg/labels of containerd). */
const MAX_LABEL = 4096;
/** containerID:hostID:size, separated by commas. */
const MAPPING = /^\d{1,10}:\d{1,10}:\d{1,10}(,\d{1,10}:\d{1,10}:\d{1,10})*$/;

/** The labels that are kept: those with a value. Throws DriverError. */
export function takeLabels(labels: Labels): Labels {
  for (const [key, value] of Object.entries(labels)) {
    if (Buffer.byteLength(key) + Buffer.byteLength(value) > MAX_LABEL) {
      throw new DriverError(
        'invalid-argument',
        `label ${key.slice(0, 64)}: key and value have more than ${MAX_LABEL} bytes`,
      );
    }
  }
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''));
}

/** The mount options that show IDs as a container's user namespace has them; none without labels. */
export function mappingOptions(labels: Labels): string[] {
  const given = [
    ['uidmapping', UID_MAPPING],
    ['gidmapping', GID_MAPPING],
  ].flatMap(([option, label]) => (Object.hasOwn(labels, label) ? [{ option, label }] : []));
  if (given.length === 1) {
    throw new DriverError('invalid-argument', `${given[0].label} needs the other mapping too`);
  }
  return given.map(({ option, label }) => {
    const value = labels[label];
    if (!MAPPING.test(value)) {
      throw new DriverError(
        'invalid-argument',
        `label ${label} is '${value}', not CONTAINER:HOST:SIZE[,...]`,
      );
    }
    return `${option}=${value.replaceAll(',', ':')}`;
  });
}
