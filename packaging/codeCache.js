/**
 * The compiled form of the host's bundles: `node packaging/codeCache.js FILE...` writes
 * FILE.VERSION.cache beside each, where VERSION is that of the V8 of the node which runs this. Other
 * versions do without, or have a file of their own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';
import { fileURLToPath } from 'node:url';

/** Characters at the end of a bundle that tell what its cache was made from. */
const ID = 32;

/** Of all functions, also those that are compiled only when they are called. */
export function writeCodeCache(file) {
  const source = readFileSync(file, 'latin1');
  setFlagsFromString('--no-lazy');
  const script = new Script(source, { filename: file });
  // Back before the cache is made: it notes the flags, and is taken only under the same.
  setFlagsFromString('--lazy');
  writeFileSync(
    `${file}.${process.versions.v8}.cache`,
    Buffer.concat([Buffer.from(source.slice(-ID), 'latin1'), script.createCachedData()]),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of process.argv.slice(2)) writeCodeCache(file);
}
