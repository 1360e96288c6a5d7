/**
 * The Debian packages. `stratafs` needs Node 20.19 or later. Debian 12 has Node 18: there
 * `stratafs-node` is installed with it, a Node that only stratafs uses. It is a package of its own,
 * as it is 40 times as large as stratafs, and where the distribution has a recent Node nobody needs
 * it. A single-executable application would be no smaller: it is the whole of Node, too.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { addCodeCache, copyDocs, stageTree } from './stage.js';
import { fail, run, tools } from './targets.js';

/** The Node of `stratafs-node`, as the npm registry has it: the build that nodejs.org offers. */
const RUNTIME = {
  version: '24.22.3',
  integrity: {
    x64: 'sha512-KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==',
    arm64:
      'sha512-IZx0J52/1NDwAsY2iyWR9nlPIYuYviTWetjj8+ElvYQh2+XRhLfCfkbFEF/2O5vGI2hcUbyPNHV+nz342FbJXw==',
  },
};

const HOME = 'usr/lib/stratafs';
const LAUNCHER = '../lib/stratafs/build/Release/stratafs';
const MAINTAINER = 'stratafs authors <stratafs@users.noreply.github.com>';

/** Files of the tree's dist/ and packaging/, and where Debian wants them. A page of the manual is compressed. */
const EXTRAS = [
  {
    from: 'dist/man',
    match: /\.[1-8]$/,
    to: (name) => `usr/share/man/man${name.at(-1)}/${name}.gz`,
  },
  {
    from: 'dist/completions',
    match: /^stratafs\.bash$/,
    to: () => 'usr/share/bash-completion/completions/stratafs',
  },
  {
    from: 'dist/completions',
    match: /^_stratafs$/,
    to: () => 'usr/share/zsh/vendor-completions/_stratafs',
  },
  {
    from: 'dist/completions',
    match: /^stratafs\.fish$/,
    to: () => 'usr/share/fish/vendor_completions.d/stratafs.fish',
  },
  {
    from: 'packaging/units/system',
    match: /\.(service|socket|timer|target)$/,
    to: (name) => `usr/lib/systemd/system/${name}`,
  },
  {
    from: 'packaging/units/user',
    match: /\.(service|socket|timer|target)$/,
    to: (name) => `usr/lib/systemd/user/${name}`,
  },
];

/** Hosts remove their sockets themselves; their logs are left, and the directory. */
const POSTRM = `#!/bin/sh
set -e
[ "$1" != purge ] || rm -f /run/stratafs/host-*.log
rmdir /run/stratafs 2>/dev/null || true
`;

export function makeDeb(context) {
  const { work, cache, target } = context;
  const stage = join(work, 'deb', `stratafs-${target.deb}`);
  stageStratafs(context, stage, runtime(cache, target));
  build(context, stage, 'stratafs', version(context.root), {
    Depends: 'libc6 (>= 2.34), libgcc-s1, fuse3, nodejs (>= 20.19) | stratafs-node',
    Description: [
      'union mount for container root file systems, over FUSE',
      'Shows read-only layer directories and one read-write directory as one tree,',
      'in the on-disk format of kernel overlayfs. For mount(8), fstab, podman,',
      'buildah and containerd, as root and as an ordinary user.',
    ],
  });
}

export function makeNodeDeb(context) {
  const { work, cache, target } = context;
  const stage = join(work, 'deb', `stratafs-node-${target.deb}`);
  stageRuntime(stage, runtime(cache, target), target);
  build(context, stage, 'stratafs-node', RUNTIME.version, {
    Depends: 'libc6 (>= 2.34), libgcc-s1, libstdc++6',
    Enhances: 'stratafs',
    Description: [
      'Node.js for stratafs alone',
      'For releases of Debian whose nodejs is older than 20.19. It is not on PATH.',
    ],
  });
}

const version = (root) => JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;

function stageStratafs({ root, modules, native, target }, stage, node) {
  const home = join(stage, HOME);
  rmSync(stage, { recursive: true, force: true });
  stageTree(root, home, modules, native);
  if (target.cpu === process.arch) {
    addCodeCache(root, home, process.execPath);
    addCodeCache(root, home, join(node, 'bin/node'));
  }
  rmSync(join(home, 'LICENSE'));
  // An ordinary user has no sbin on PATH; mount(8) looks there alone.
  for (const name of ['bin/stratafs', 'sbin/stratafs', 'sbin/mount.fuse.stratafs']) {
    mkdirSync(dirname(join(stage, 'usr', name)), { recursive: true });
    symlinkSync(LAUNCHER, join(stage, 'usr', name));
  }
  stageExtras(home, 'dist', stage);
  stageExtras(root, 'packaging', stage);
  for (const name of ['man', 'completions']) rmSync(join(home, 'dist', name), { recursive: true });
  const doc = join(stage, 'usr/share/doc/stratafs');
  copyDocs(root, doc);
  mkdirSync(doc, { recursive: true });
  cpSync(join(root, 'README.md'), join(doc, 'README.md'));
  cpSync(join(root, 'LICENSE'), join(doc, 'copyright'));
  writeFileSync(join(doc, 'changelog.gz'), gzip(readFileSync(join(root, 'CHANGELOG.md'))));
}

/** Puts into the package what of EXTRAS lies in the folder `inside` of `base`. */
function stageExtras(base, inside, stage) {
  for (const { from, match, to } of EXTRAS.filter((each) => each.from.startsWith(`${inside}/`))) {
    const directory = join(base, from);
    if (!existsSync(directory)) continue;
    for (const name of readdirSync(directory).filter((each) => match.test(each))) {
      const target = join(stage, to(name));
      const content = readFileSync(join(directory, name));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, target.endsWith('.gz') ? gzip(content) : content);
    }
  }
}

/** Without a time in it. */
const gzip = (content) => gzipSync(content, { level: 9 });

/** The unpacked npm package of the runtime, fetched once. */
function runtime(cache, { cpu }) {
  const name = `node-linux-${cpu}`;
  const directory = join(cache, `${name}-${RUNTIME.version}`);
  if (existsSync(join(directory, 'bin/node'))) return directory;
  const spec = `${name}@${RUNTIME.version}`;
  run('npm', ['pack', '--silent', '--pack-destination', cache, spec], { cwd: cache });
  const file = join(cache, `${name}-${RUNTIME.version}.tgz`);
  const digest = createHash('sha512').update(readFileSync(file)).digest('base64');
  if (`sha512-${digest}` !== RUNTIME.integrity[cpu]) fail(`${spec} is not what it was: ${digest}`);
  mkdirSync(directory, { recursive: true });
  run('tar', ['-xzf', file, '-C', directory, '--strip-components=1', '--no-same-owner']);
  rmSync(file);
  return directory;
}

function stageRuntime(stage, node, target) {
  rmSync(stage, { recursive: true, force: true });
  const program = join(stage, HOME, 'runtime/node');
  mkdirSync(dirname(program), { recursive: true });
  cpSync(join(node, 'bin/node'), program);
  run(tools(target).STRIP, [program]);
  chmodSync(program, 0o755);
  const doc = join(stage, 'usr/share/doc/stratafs-node');
  mkdirSync(doc, { recursive: true });
  cpSync(join(node, 'LICENSE'), join(doc, 'copyright'));
}

/** Writes the control files and makes the package. */
function build({ out, target }, stage, name, packageVersion, fields) {
  const control = join(stage, 'DEBIAN');
  mkdirSync(control);
  const { Description: description, ...relations } = fields;
  const lines = Object.entries({
    Package: name,
    Version: packageVersion,
    Architecture: target.deb,
    Maintainer: MAINTAINER,
    Section: 'admin',
    Priority: 'optional',
    Homepage: 'https://github.com/stratafs/stratafs',
    'Installed-Size': Math.ceil(sizeOf(stage) / 1024),
    ...relations,
    Description: description.join('\n '),
  }).map(([key, value]) => `${key}: ${value}`);
  writeFileSync(join(control, 'control'), `${lines.join('\n')}\n`);
  if (name === 'stratafs') writeFileSync(join(control, 'postrm'), POSTRM, { mode: 0o755 });
  const file = join(out, `${name}_${packageVersion}_${target.deb}.deb`);
  run('chmod', ['-R', 'u=rwX,go=rX', stage]);
  run('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', stage, file]);
  console.log(`${file}\t${statSync(file).size} bytes`);
}

function sizeOf(directory) {
  const entries = readdirSync(directory, { withFileTypes: true });
  return entries.reduce((sum, entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return sum + sizeOf(path);
    return sum + (entry.isFile() ? statSync(path).size : 0);
  }, 0);
}
