/** Lays out what the packages hold. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { BUNDLES, writeBuildId } from './buildId.js';
import { fail, packageName, run, TARGETS, tools } from './targets.js';

/** Only for who compiles; and what a dependency needs for its command or its types alone. */
const NOT_RUN = ['node-addon-api', 'node-api-headers', 'yargs', '@types/node'];

const read = (root, file) => JSON.parse(readFileSync(join(root, file), 'utf8'));
const without = (table, names) =>
  Object.fromEntries(Object.entries(table).filter(([name]) => !names.includes(name)));

/** What all manifests say alike. */
function manifest(root, name, more) {
  const { version, description, keywords, homepage, bugs, repository, license, type, os, engines } =
    read(root, 'package.json');
  const about = { name, version, description, keywords, homepage, bugs, repository, license };
  return { ...about, type, os, engines, ...more };
}

function writeManifest(stage, content) {
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(content, null, 2)}\n`);
}

/** Compiles the TypeScript into WORK/dist, which holds nothing of an earlier build then. */
export function buildModules(root, work) {
  const out = join(work, 'dist');
  rmSync(out, { recursive: true, force: true });
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const flags = ['--sourceMap', 'false', '--outDir'];
  run(process.execPath, [tsc, '-p', 'tsconfig.json', ...flags, out], { cwd: root });
  run(process.execPath, ['bundle.js', work], { cwd: root });
  run(process.execPath, [tsc, '-p', 'bench/tsconfig.json', ...flags, join(out, 'bench')], {
    cwd: root,
  });
  return out;
}

/** Compiles the native parts for `target` below `work`; returns the directory of the two files. */
export function buildNative(root, work, target) {
  const directory = join(work, `native-${target.cpu}`);
  mkdirSync(directory, { recursive: true });
  rmSync(join(directory, 'native'), { recursive: true, force: true });
  for (const name of ['native', 'binding.gyp', 'package.json']) {
    cpSync(join(root, name), join(directory, name), { recursive: true });
  }
  const { STRIP, ...compilers } = tools(target);
  const env = {
    ...process.env,
    ...compilers,
    ...(target.cpu === process.arch ? {} : { CXXFLAGS: `-isystem ${kernelHeaders(work)}` }),
    // The headers' packages, wherever the work is done.
    NODE_PATH: join(root, 'node_modules'),
    STRATAFS_PACKAGE: '1',
    STRATAFS_BUILD_DIR: directory,
  };
  const build = [join(root, 'native/build.js'), 'rebuild', `--arch=${target.cpu}`];
  run(process.execPath, build, { cwd: root, env, stdio: ['ignore', 'ignore', 'pipe'] });
  const built = join(directory, 'build/Release');
  for (const name of ['stratafs', 'stratafs_native.node']) {
    run(STRIP, ['--strip-unneeded', join(built, name)]);
  }
  return built;
}

/**
 * <linux/fuse.h> of this machine, which is the same for all architectures: the cross compiler's own,
 * Debian's linux-libc-dev-*-cross, is of an older kernel than what it asks for.
 */
function kernelHeaders(work) {
  const directory = join(work, 'headers');
  mkdirSync(join(directory, 'linux'), { recursive: true });
  cpSync('/usr/include/linux/fuse.h', join(directory, 'linux/fuse.h'));
  return directory;
}

/**
 * All that runs, for one architecture: the launcher, the addon, and the modules that the launcher
 * starts. It needs no other package of ours: the launcher finds the rest by its own path.
 */
export function stageTree(root, stage, modules, native) {
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(join(stage, 'build/Release'), { recursive: true });
  for (const name of ['stratafs', 'stratafs_native.node']) {
    cpSync(join(native, name), join(stage, 'build/Release', name));
    chmodSync(join(stage, 'build/Release', name), 0o755);
  }
  cpSync(modules, join(stage, 'dist'), {
    recursive: true,
    filter: (file) => !isLeftOut(relative(modules, file)),
  });
  copyDependencies(root, join(stage, 'dist/node_modules'));
  for (const directory of ['bench/client', 'proto']) {
    cpSync(join(root, directory), join(stage, directory), { recursive: true });
  }
  cpSync(join(root, 'LICENSE'), join(stage, 'LICENSE'));
  cpSync(join(root, 'package.json'), join(stage, 'package.json'));
  writeBuildId(stage);
  checkReferences(stage);
}

/**
 * What it does without: the bench's charts and progress bar, and the peer that is installed on
 * demand; the host's modules, as there are the bundles.
 */
const OPTIONAL = ['@observablehq/plot', 'linkedom', 'cli-progress', 'fuse-native', './hostMain.js'];

/** Ends with a sentence when a module of the tree names a file or a package that is not in it. */
function checkReferences(stage) {
  const dist = join(stage, 'dist');
  for (const file of readdirSync(dist, { recursive: true })) {
    if (!/\.[cm]?js$/.test(file) || file.startsWith('node_modules/')) continue;
    const text = readFileSync(join(dist, file), 'utf8');
    const from = dirname(join(dist, file));
    for (const name of [...importsOf(text), ...filesNamed(text)]) {
      const target = name.startsWith('.') ? join(from, name) : join(dist, 'node_modules', name);
      if (name.startsWith('node:') || OPTIONAL.includes(name) || existsSync(target)) continue;
      fail(`dist/${file} names ${name}, which is not in the package: see packaging/stage.js`);
    }
  }
}

/** The files beside it that a module names: a thread's, a picture. */
const filesNamed = (text) =>
  [...text.matchAll(/new URL\('([^']+)', import\.meta\.url\)/g)].map(([, name]) => name);

/** What a module imports, statically or when it comes to it. */
function importsOf(text) {
  const imports = /(?:^|[;}\s])(?:from|import|require)\s*\(?\s*['"]([@\w.][\w@./:-]*)['"]/g;
  return [...text.matchAll(imports)].map(([, name]) => name);
}

/**
 * The npm packages that the modules import, with what these import. They are not left to the package
 * manager: protobufjs has an install script (it compares version numbers), and pnpm fails for one.
 */
function copyDependencies(root, to) {
  const copied = new Set(NOT_RUN);
  const copy = (name) => {
    if (copied.has(name)) return;
    copied.add(name);
    const from = join(root, 'node_modules', name);
    cpSync(from, join(to, name), {
      recursive: true,
      dereference: true,
      filter: (file) => !/\.(map|d\.[cm]?ts|[cm]?ts|md|markdown)$|\/(src|bin|cli)$/.test(file),
    });
    const { dependencies = {} } = read(from, 'package.json');
    for (const each of Object.keys(dependencies)) {
      if (!existsSync(join(from, 'node_modules', each))) copy(each);
    }
  };
  for (const name of Object.keys(read(root, 'package.json').dependencies)) copy(name);
  for (const file of readdirSync(to, { recursive: true })) {
    if (/\.[cm]?js$/.test(file)) dropSourceMap(join(to, file));
  }
}

/** The map it names was left out. */
function dropSourceMap(file) {
  const text = readFileSync(file, 'utf8');
  if (text.includes('//# sourceMappingURL=')) {
    writeFileSync(file, text.replace(/^\/\/# sourceMappingURL=.*$/gm, ''));
  }
}

/** Types, the library, the demonstration of a clone; the host runs from its bundles. */
function isLeftOut(file) {
  return (
    /\.(d\.[cm]?ts|map|cache|tsbuildinfo)$/.test(file) ||
    /^(index\.[cm]?js|build-id|host\/hostMain\.js|cli\/demo\w*\.js)$/.test(file)
  );
}

/** Adds the bundles' code cache for the V8 of `node`, which must be of the tree's architecture. */
export function addCodeCache(root, stage, node) {
  const files = BUNDLES.map((file) => join(stage, 'dist', file));
  run(node, [join(root, 'packaging/codeCache.js'), ...files]);
}

export function stagePlatform(root, stage, modules, native, target) {
  stageTree(root, stage, modules, native);
  if (target.cpu === process.arch) addCodeCache(root, stage, process.execPath);
  const name = packageName(target);
  writeManifest(
    stage,
    manifest(root, name, {
      description: `stratafs for ${target.triple}: the launcher and the addon`,
      cpu: [target.cpu],
      libc: ['glibc'],
      // Yarn would leave it in an archive, from which nothing can be executed.
      preferUnplugged: true,
    }),
  );
  writeFileSync(
    join(stage, 'README.md'),
    `# ${name}\n\nThe compiled parts of [stratafs](https://github.com/stratafs/stratafs). Install \`stratafs\`.\n`,
  );
}

/** The package that users name: the command, the library and its types, no compiled file. */
export function stageMain(root, stage, modules) {
  rmSync(stage, { recursive: true, force: true });
  const source = read(root, 'package.json');
  const { files, packages } = reachable(modules, entries(source.exports));
  for (const file of files) {
    mkdirSync(dirname(join(stage, 'dist', file)), { recursive: true });
    cpSync(join(modules, file), join(stage, 'dist', file));
  }
  mkdirSync(join(stage, 'bin'));
  const command = readFileSync(join(root, 'packaging/stratafs.sh'), 'utf8');
  writeFileSync(join(stage, 'bin/stratafs'), command.replace('@VERSION', `@${source.version}`), {
    mode: 0o755,
  });
  for (const file of ['README.md', 'LICENSE', 'CHANGELOG.md']) {
    cpSync(join(root, file), join(stage, file));
  }
  copyDocs(root, join(stage, 'docs'));
  cpSync(join(modules, 'man'), join(stage, 'man'), { recursive: true });
  cpSync(join(modules, 'completions'), join(stage, 'completions'), { recursive: true });
  const unused = Object.keys(source.dependencies).filter((name) => !packages.has(name));
  writeManifest(
    stage,
    manifest(root, 'stratafs', {
      bin: { stratafs: 'bin/stratafs' },
      man: ['man/stratafs.8'],
      exports: source.exports,
      ...(source.main === undefined ? {} : { main: source.main }),
      ...(source.types === undefined ? {} : { types: source.types }),
      dependencies: without(source.dependencies, unused),
      optionalDependencies: Object.fromEntries(
        TARGETS.map((target) => [packageName(target), source.version]),
      ),
    }),
  );
}

export function copyDocs(root, to) {
  const from = join(root, 'docs');
  if (!existsSync(from)) return;
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    if (name.endsWith('.md')) cpSync(join(from, name), join(to, name));
  }
}

/** The files that `exports` names, below dist/. */
function entries(value) {
  if (typeof value === 'string') return value.startsWith('./dist/') ? [value.slice(7)] : [];
  return Object.values(value ?? {}).flatMap(entries);
}

/** What the entries import, and that in turn; types too. Also the packages that these name. */
function reachable(modules, from) {
  const files = new Set();
  const packages = new Set();
  const waiting = [...from];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    const text = readFileSync(join(modules, file), 'utf8');
    const threads = filesNamed(text).filter((name) => /^\.\/.*\.js$/.test(name));
    for (const name of [...importsOf(text), ...threads]) {
      if (name.startsWith('.')) waiting.push(resolveImport(modules, file, name));
      else packages.add(/^(@[^/]+\/)?[^/]+/.exec(name)[0]);
    }
  }
  return { files, packages };
}

/** From types to types: './x.js' in a .d.ts is x.d.ts. */
function resolveImport(modules, file, name) {
  const target = join(dirname(file), name);
  if (!/\.d\.[cm]?ts$/.test(file)) return target;
  const types = target.replace(/\.([cm]?)js$/, '.d.$1ts');
  return existsSync(join(modules, types)) ? types : target;
}
