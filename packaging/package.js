/**
 * `npm run package [-- WORD ...]`: makes the packages in ./packages, of this tree and for this
 * machine's architecture, and for others whose compiler is installed (g++-aarch64-linux-gnu). Words
 * choose some of them: npm, deb, node (stratafs-node), and an architecture. docs/install.md says what
 * they are.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeDeb, makeNodeDeb } from './deb.js';
import { buildModules, buildNative, stageMain, stagePlatform } from './stage.js';
import { buildable, fail, run, TARGETS } from './targets.js';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const OUT = process.env['STRATAFS_PACKAGES'] ?? join(ROOT, 'packages');
const WORK = join(OUT, '.work');
/** Where what is fetched stays for the next time. */
const CACHE = process.env['STRATAFS_PACKAGE_CACHE'] ?? WORK;

const KINDS = ['npm', 'deb', 'node'];
const words = process.argv.slice(2);
const known = [...KINDS, ...TARGETS.map(({ cpu }) => cpu)];
const wrong = words.find((word) => !known.includes(word));
if (wrong !== undefined) fail(`there is nothing named ${wrong} to make, only ${known.join(', ')}`);
/** Chosen, or none of its like is. */
const wanted = (word, all) => words.includes(word) || !all.some((other) => words.includes(other));
const wantedKind = (kind) => wanted(kind, KINDS);
const targets = buildable().filter(({ cpu }) =>
  wanted(
    cpu,
    TARGETS.map((each) => each.cpu),
  ),
);

function pack(stage) {
  const out = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', OUT], {
    cwd: stage,
  });
  // npm 12 answers with an object by name, those before it with a list.
  const [{ filename, size }] = Object.values(JSON.parse(out));
  console.log(`${join(OUT, filename)}\t${size} bytes`);
}

mkdirSync(WORK, { recursive: true });
const modules = buildModules(ROOT, WORK);
if (wantedKind('npm')) {
  const stage = join(WORK, 'npm/stratafs');
  stageMain(ROOT, stage, modules);
  pack(stage);
}
for (const target of targets) {
  const native = buildNative(ROOT, WORK, target);
  if (wantedKind('npm')) {
    const stage = join(WORK, `npm/${target.cpu}`);
    stagePlatform(ROOT, stage, modules, native, target);
    pack(stage);
  }
  const context = { root: ROOT, work: WORK, cache: CACHE, out: OUT, modules, native, target };
  if (wantedKind('deb')) makeDeb(context);
  if (wantedKind('node')) makeNodeDeb(context);
}
rmSync(join(WORK, 'deb'), { recursive: true, force: true });
