/**
 * The build id: what a build of stratafs is known by. A launcher gives its mounts only to a host of
 * the same id, so an upgraded install starts a host of its own and the old one keeps its mounts.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Everything that the host and whoever asks it are made of, in this order. */
const parts = (bundles) => [
  'build/Release/stratafs',
  'build/Release/stratafs_native.node',
  ...bundles,
];

/**
 * Writes ROOT/dist/build-id: 12 hexadecimal digits of the SHA-256 of the launcher, the addon and
 * the bundles (paths below ROOT), and a newline. The same files give the same id anywhere.
 */
export function writeBuildId(root, bundles) {
  const hash = createHash('sha256');
  for (const part of parts(bundles)) {
    try {
      hash.update(readFileSync(join(root, part)));
    } catch (error) {
      // The TypeScript can be built before the native parts; building these writes the id again.
      if (error.code !== 'ENOENT') throw error;
    }
    hash.update('\0');
  }
  writeFileSync(join(root, 'dist/build-id'), `${hash.digest('hex').slice(0, 12)}\n`);
}
