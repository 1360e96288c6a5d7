/**
 * Makes the host's two programs, the main thread's and the engine threads', into one file each, and
 * compiles them: `node bundle.js`, after tsc. A host has loaded them in a few milliseconds; as 60
 * modules they take as long as Node's own start. src/host/hostStart.cts runs them.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';
import { rolldown } from 'rolldown';
import { writeBuildId } from './packaging/buildId.js';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** In the host, an engine thread runs what the host itself was started with. */
const ownEntry = {
  name: 'engine-entry',
  resolveId: (source) =>
    source.endsWith('/engineEntry.js') ? at('src/host/engineEntryBundled.ts') : null,
};

async function bundle(input, output) {
  const build = await rolldown({
    input: at(input),
    platform: 'node',
    plugins: [ownEntry],
    resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
    logLevel: 'warn',
  });
  await build.write({ file: at(output), format: 'cjs', sourcemap: true });
  await build.close();
}

/** Adds the code cache: all functions, also those that are compiled only when they are called. */
function compile(file) {
  // One byte a character, for V8 as for us.
  const escape = (text) => `\\u${text.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const code = readFileSync(file, 'utf8').replace(/[^\0-\x7f]/g, escape);
  // What the cache was made from is told by this, as V8 itself compares no more than lengths.
  const id = createHash('sha256').update(code).digest('hex').slice(0, 32);
  const source = `(function (require, module, exports, __filename, __dirname) {${code}\n})//${id}`;
  writeFileSync(file, source);
  setFlagsFromString('--no-lazy');
  const script = new Script(source, { filename: file });
  // Back before the cache is made: it notes the flags, and is taken only under the same.
  setFlagsFromString('--lazy');
  writeFileSync(
    `${file}.cache`,
    Buffer.concat([Buffer.from(id, 'latin1'), script.createCachedData()]),
  );
}

async function make(input, output) {
  await bundle(input, output);
  compile(at(output));
}

await make('src/host/hostMain.ts', 'dist/host/host.bundle');
await make('src/fuse/engineThread.ts', 'dist/host/engine.bundle');
// Last, as it is made of all the others.
writeBuildId(at('.'), ['dist/host/host.bundle', 'dist/host/engine.bundle']);
