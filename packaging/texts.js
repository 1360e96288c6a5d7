/**
 * What is made from the tables of the commands, into ROOT/dist: help.txt and version.txt, which the
 * launcher prints without starting Node; the manual; the completions. `node packaging/texts.js [ROOT]`,
 * after tsc.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const SOURCE = dirname(dirname(fileURLToPath(import.meta.url)));

/** Files below dist/, and what is in them. */
async function texts(root) {
  const load = (file) => import(pathToFileURL(join(root, 'dist/cli', file)).href);
  const { version } = JSON.parse(readFileSync(join(SOURCE, 'package.json'), 'utf8'));
  const { helpText } = await load('help.js');
  const { completionText } = await load('completion.js');
  const { manualText } = await load('manual.js');
  return {
    'help.txt': await helpText(),
    'version.txt': `stratafs ${version}\n`,
    'man/stratafs.8': await manualText(version),
    'completions/stratafs.bash': await completionText('bash'),
    'completions/_stratafs': await completionText('zsh'),
    'completions/stratafs.fish': await completionText('fish'),
  };
}

/** The library's entry for `require`, which tsc does not make from a module. */
const CJS = ['index.cjs', 'index.d.cts'];

/** The commands import packages of npm, which lie here: a tree elsewhere is lent them meanwhile. */
async function withPackages(root, act) {
  const link = join(root, 'node_modules');
  const lent = ![root, ...parents(root)].some((at) => existsSync(join(at, 'node_modules')));
  if (lent) symlinkSync(join(SOURCE, 'node_modules'), link);
  try {
    return await act();
  } finally {
    if (lent) unlinkSync(link);
  }
}

const parents = (path) =>
  path === dirname(path) ? [] : [dirname(path), ...parents(dirname(path))];

export async function writeTexts(root) {
  for (const name of CJS)
    copyFileSync(join(SOURCE, 'packaging/cjs', name), join(root, 'dist', name));
  const made = await withPackages(root, () => texts(root));
  for (const [name, text] of Object.entries(made)) {
    const file = join(root, 'dist', name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}
