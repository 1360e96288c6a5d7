/**
 * The build id: what a build of stratafs is known by. A launcher gives its mounts only to a host of
 * the same id, so an upgraded install starts a host of its own and the old one keeps its mounts.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The host's programs, below dist/. */
export const BUNDLES = ['host/host.bundle', 'host/engine.bundle'];

/**
 * Writes ROOT/dist/build-id: 12 hexadecimal digits of the SHA-256 of the launcher, the addon and
 * the bundles, and a newline. The same files give the same id anywhere.
 */
export function writeBuildId(root) {
  const native = ['stratafs', 'stratafs_native.node'].map((name) => `build/Release/${name}`);
  const hash = createHash('sha256');
  for (const part of [...native, ...BUNDLES.map((name) => `dist/${name}`)]) {
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
