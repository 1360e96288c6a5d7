import process from 'node:process';
import type { Driver, Features } from '../support/mount.js';
import type { Needs } from '../support/needs.js';
import type { Pair } from './compare.js';

/** The other data plane of stratafs. */
export const PASSTHROUGH: readonly string[] = ['data=passthrough'];

/** stratafs and kernel overlayfs, or what STRATAFS_PAIR names ("kernel,fuse-overlayfs"). */
export function pairUnderTest(features: Features, options: readonly string[] = []): Pair {
  const [subject = 'stratafs', reference = 'kernel'] = (process.env['STRATAFS_PAIR'] ?? '')
    .split(',')
    .filter((name) => name !== '') as Driver[];
  return { subject, reference, features, options };
}

export function pairNeeds(pair: Pair): Needs {
  return {
    root: true,
    fuse: true,
    kernelOverlay: true,
    programs: ['gcc'],
    stratafs: pair.subject === 'stratafs' || pair.reference === 'stratafs',
  };
}
