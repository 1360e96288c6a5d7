/**
 * Makes the host's two programs, the main thread's and the engine threads', into one file each, and
 * compiles them: `node bundle.js [ROOT]`, after tsc, into ROOT/dist. A host has loaded them in a few
 * milliseconds; as 60
 * modules they take as long as Node's own start. src/host/hostStart.cts runs them.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { BUNDLES, writeBuildId } from './packaging/buildId.js';
import { writeCodeCache } from './packaging/codeCache.js';
import { writeTexts } from './packaging/texts.js';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const root = process.argv[2] ?? at('.');

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
  await build.write({ file: output, format: 'cjs', sourcemap: 'hidden' });
  await build.close();
}

/** One byte a character, for V8 as for us; and at the end what a code cache must be made from. */
function wrap(file) {
  const escape = (text) => `\\u${text.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const code = readFileSync(file, 'utf8').replace(/[^\0-\x7f]/g, escape);
  // V8 itself compares no more than lengths.
  const id = createHash('sha256').update(code).digest('hex').slice(0, 32);
  const source = `(function (require, module, exports, __filename, __dirname) {${code}\n})//${id}`;
  writeFileSync(file, source);
}

async function make(input, output) {
  const file = join(root, 'dist', output);
  await bundle(input, file);
  wrap(file);
  writeCodeCache(file);
}

const [host = '', engine = ''] = BUNDLES;
await make('src/host/hostMain.ts', host);
await make('src/host/engineMain.ts', engine);
await writeTexts(root);
// Last, as it is made of all the others.
writeBuildId(root);
