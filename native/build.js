/**
 * Builds the native parts: `node native/build.js rebuild`, or `build` after a change. Run by `npm
 * install`. It is node-gyp with headers that need no network (native/nodedir), and one sentence
 * where a tool is missing.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** What node-gyp runs, and the Debian package that has it. */
const TOOLS = [
  [process.env['PYTHON'] ?? process.env['npm_config_python'] ?? 'python3', 'python3'],
  [process.env['MAKE'] ?? 'make', 'make'],
  [process.env['CXX'] ?? 'g++', 'g++'],
];

function isThere(program) {
  const directories = program.includes('/') ? [''] : (process.env['PATH'] ?? '').split(':');
  return directories.some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function fail(sentence) {
  console.error(`stratafs: ${sentence}`);
  process.exit(1);
}

/** node-gyp's program: the one that this package depends on, else the one that npm has on PATH. */
function nodeGyp() {
  try {
    return [process.execPath, createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')];
  } catch {
    return ['node-gyp'];
  }
}

const [command = 'build', ...more] = process.argv.slice(2);
// A compiler may be given with arguments ("ccache g++").
const missing = TOOLS.filter(([program]) => !isThere(program.split(' ')[0] ?? ''));
if (missing.length > 0) {
  const packages = missing.map(([, name]) => name);
  fail(
    `cannot build the native parts, ${missing.map(([program]) => program).join(', ')} not found: ` +
      `apt-get install ${packages.join(' ')}`,
  );
}
const [program = '', ...before] = nodeGyp();
// A user's own setting comes before an argument.
const env = { ...process.env, npm_config_nodedir: join(ROOT, 'native/nodedir') };
const nodedir = `--nodedir=${join(ROOT, 'native/nodedir')}`;
// Configured anew, as binding.gyp names source files by a pattern.
for (const step of command === 'build' ? ['configure', 'build'] : [command]) {
  const done = spawnSync(program, [...before, step, nodedir, '--jobs=max', ...more], {
    cwd: process.env['STRATAFS_BUILD_DIR'] ?? ROOT,
    stdio: 'inherit',
    env,
  });
  if (done.error) fail(`cannot run ${program}: ${done.error.message}`);
  if (done.status !== 0) process.exit(done.status ?? 1);
}
