/**
 * A root file system in which apt-get works, made from the host's own installed packages (no
 * network, no debootstrap), and a local archive of 20 packages to install in it.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Part } from '../types.js';
import { run } from './run.js';

const PACKAGES = 20;
const INFO = '/var/lib/dpkg/info';

/** The names in a Depends or Provides line, each with its alternatives. */
export function dependencies(line: string): string[][] {
  const groups = line
    .split(',')
    .map((group) => group.split('|').flatMap((item) => /^\s*([\w.+-]+)/.exec(item)?.[1] ?? []));
  return groups.filter((names) => names.length > 0);
}

/** The essential packages and apt, with all they depend on, as the host has them installed. */
function closure(): string[] {
  const fields = ['Package', 'Essential', 'db:Status-Status', 'Provides', 'Pre-Depends', 'Depends'];
  const form = `${fields.map((field) => `\${${field}}`).join('\\t')}\\n`;
  const needs = new Map<string, string[][]>();
  const providers = new Map<string, string>();
  const open = ['apt'];
  for (const line of run(['dpkg-query', '-W', '-f', form]).split('\n')) {
    const [name = '', essential, state, provides = '', ...depends] = line.split('\t');
    if (state !== 'installed') continue;
    needs.set(name, dependencies(depends.join(',')));
    providers.set(name, name);
    for (const other of dependencies(provides).flat()) {
      if (!providers.has(other)) providers.set(other, name);
    }
    if (essential === 'yes') open.push(name);
  }
  const taken = new Set<string>();
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (taken.has(name)) continue;
    taken.add(name);
    for (const group of needs.get(name) ?? []) {
      const present = group.flatMap((other) => providers.get(other) ?? []);
      open.push(...present.slice(0, 1));
    }
  }
  return [...taken].sort();
}

/** What the packages own, without documents; a path over a symlink (/bin) becomes the real one. */
function filesOf(packages: readonly string[]): string[] {
  const files = new Set<string>();
  for (const path of run(['dpkg', '-L', ...packages]).split('\n')) {
    if (!path.startsWith('/') || path === '/.' || /^\/usr\/share\/(doc|man|locale)\//.test(path)) {
      continue;
    }
    if (!existsSync(dirname(path))) continue;
    const real = join(realpathSync(dirname(path)), basename(path));
    if (existsSync(real)) files.add(real.slice(1));
  }
  return [...files].sort();
}

/** dpkg's own record of the packages. */
function writeStatus(layer: string, packages: readonly string[]): void {
  const wanted = new Set(packages);
  const stanzas = readFileSync('/var/lib/dpkg/status', 'utf8').split('\n\n');
  const kept = stanzas.filter((text) => wanted.has(/^Package: (.*)$/m.exec(text)?.[1] ?? ''));
  const dpkg = join(layer, 'var/lib/dpkg');
  for (const directory of ['info', 'updates', 'triggers']) {
    mkdirSync(join(dpkg, directory), { recursive: true });
  }
  writeFileSync(join(dpkg, 'status'), `${kept.join('\n\n')}\n`);
  for (const name of ['available', 'lock', 'lock-frontend', 'triggers/File']) {
    writeFileSync(join(dpkg, name), '');
  }
  for (const name of readdirSync(INFO)) {
    const owner = name.replace(/(:[^.]*)?\.\w+$/, '');
    if (wanted.has(owner) || name === 'format') cpSync(join(INFO, name), join(dpkg, 'info', name));
  }
}

/** Packages of the fixture's files, and the index that apt reads. */
function writeArchive(home: string, layer: string, list: string, plain: string): void {
  const repo = join(layer, 'repo');
  const names = readFileSync(list, 'utf8').trim().split('\n');
  const index: string[] = [];
  for (let i = 0; i < PACKAGES; i++) {
    const content = join(home, 'package');
    mkdirSync(join(content, 'DEBIAN'), { recursive: true });
    const about = [`Package: bench-${i}`, 'Version: 1', 'Architecture: all'];
    about.push('Maintainer: bench <bench@example.org>', 'Description: files to install');
    writeFileSync(join(content, 'DEBIAN/control'), `${about.join('\n')}\n`);
    for (const name of names.filter((_, at) => at % PACKAGES === i)) {
      cpSync(join(plain, name), join(content, `opt/bench-${i}`, name));
    }
    const file = join(repo, `bench-${i}.deb`);
    run(['dpkg-deb', '--root-owner-group', '-Zgzip', '--build', content, file]);
    rmSync(content, { recursive: true });
    const hash = createHash('sha256').update(readFileSync(file)).digest('hex');
    const where = [`Filename: ./${basename(file)}`, `Size: ${statSync(file).size}`];
    index.push([...about, ...where, `SHA256: ${hash}`].join('\n'));
  }
  writeFileSync(join(repo, 'Packages'), `${index.join('\n\n')}\n`);
}

const INSTALL = `#!/bin/sh
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec apt-get -qq -y -o APT::Sandbox::User=root install ${Array.from({ length: PACKAGES }, (_, i) => `bench-${i}`).join(' ')}
`;

const isLink = (path: string): boolean => existsSync(path) && lstatSync(path).isSymbolicLink();

function configure(layer: string): void {
  for (const name of ['tmp', 'dev', 'proc', 'repo', 'etc/apt/sources.list.d', 'var/log/apt']) {
    mkdirSync(join(layer, name), { recursive: true });
  }
  for (const name of ['passwd', 'group', 'shadow', 'ld.so.conf']) {
    if (existsSync(`/etc/${name}`)) cpSync(`/etc/${name}`, join(layer, 'etc', name));
  }
  rmSync(join(layer, 'etc/apt/sources.list.d'), { recursive: true });
  mkdirSync(join(layer, 'etc/apt/sources.list.d'));
  writeFileSync(join(layer, 'etc/apt/sources.list'), 'deb [trusted=yes] file:/repo ./\n');
  writeFileSync(join(layer, 'repo/install'), INSTALL);
  chmodSync(join(layer, 'repo/install'), 0o755);
}

export const debian: Part = {
  name: 'debian',
  recipe: 2,
  programs: ['apt-get', 'dpkg', 'dpkg-deb', 'dpkg-query', 'tar', 'chroot', 'unshare'],
  make: (home, { fixture }) => {
    const layer = join(home, 'layer');
    const packages = closure();
    for (const link of ['bin', 'sbin', 'lib', 'lib64', 'lib32', 'libx32']) {
      if (isLink(`/${link}`)) symlinkSync(readlinkSync(`/${link}`), join(layer, link));
    }
    const list = join(home, 'files.list');
    const archive = join(home, 'files.tar');
    writeFileSync(list, `${filesOf(packages).join('\n')}\n`);
    run(['tar', '-cf', archive, '-C', '/', '--no-recursion', '--verbatim-files-from', '-T', list]);
    run(['tar', '-xf', archive, '-C', layer]);
    rmSync(archive);
    writeStatus(layer, packages);
    configure(layer);
    writeArchive(home, layer, fixture.smallFiles, fixture.plain);
    run(['ldconfig', '-r', layer]);
    const update =
      'mount --rbind /dev dev && exec chroot . apt-get -qq -o APT::Sandbox::User=root update';
    run(['unshare', '-m', '--propagation', 'private', 'sh', '-ec', update], { cwd: layer });
  },
};
