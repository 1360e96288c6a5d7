/** The demonstration's three layers: small, made from this machine's own programs, and they boot. */
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errnoText, UserError } from '../base/errno.js';
import { makeWhiteout } from '../layer/whiteout.js';
import { TRUSTED } from '../layer/xattrs.js';
import { AT_FDCWD, O_DIRECTORY, O_PATH } from '../sys/constants.js';
import { SMALL, type Sys } from '../sys/sys.js';
import { run } from './demoShell.js';

/** A layer and what a reader calls it. */
export interface NamedLayer {
  readonly name: string;
  readonly path: string;
  /** One line: what it brings. */
  readonly about: string;
}

const TOOLS = ['sh', 'ls', 'cat', 'rm', 'mv', 'mkdir', 'chmod', 'grep', 'wc', 'uname', 'id'];

const BASE_FILES: Readonly<Record<string, string>> = {
  '/etc/motd': 'Welcome to the base layer.\n',
  '/etc/legacy.conf': 'mode = old\n',
  '/usr/share/doc/README': 'The manual of the base layer.\n',
  '/usr/share/doc/HISTORY': 'Long ago.\n',
};

const CONFIG_FILES: Readonly<Record<string, string>> = {
  '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
  '/etc/group': 'root:x:0:\n',
  '/etc/hostname': 'strata\n',
  '/etc/motd': 'Welcome. This text is from the config layer.\n',
  '/etc/app.conf': 'listen = 8080\n',
  '/srv/data/one': 'first\n',
  '/srv/data/two': 'second\n',
  '/srv/data/three': 'third\n',
};

const CHANGES_FILES: Readonly<Record<string, string>> = {
  '/usr/share/doc/README': 'One page is enough.\n',
};

/** Makes the layers below `dir`; topmost first, as lowerdir wants them. */
export async function makeLayers(sys: Sys, dir: string, stop: AbortSignal): Promise<NamedLayer[]> {
  const [base, config, changes] = ['base', 'config', 'changes'].map((name) => `${dir}/${name}`);
  const libraries = await makeBase(base, stop);
  writeFiles(config, CONFIG_FILES);
  writeFiles(changes, CHANGES_FILES);
  whiteout(sys, `${changes}/etc`, 'legacy.conf');
  opaque(sys, `${changes}/usr/share/doc`);
  return [
    {
      name: 'changes',
      path: changes,
      about: 'a whiteout over /etc/legacy.conf, an opaque directory /usr/share/doc',
    },
    { name: 'config', path: config, about: 'settings in /etc, data in /srv' },
    {
      name: 'base',
      path: base,
      about: `a shell, ${TOOLS.length - 1} tools and the ${libraries} libraries they need, from this machine`,
    },
  ];
}

/** Returns how many libraries went in. */
async function makeBase(base: string, stop: AbortSignal): Promise<number> {
  for (const dir of ['bin', 'proc', 'dev', 'root', 'tmp']) {
    mkdirSync(`${base}/${dir}`, { recursive: true });
  }
  chmodSync(`${base}/tmp`, 0o1777);
  const libraries = new Set<string>();
  for (const tool of TOOLS) {
    const program = findTool(tool);
    copyFileSync(program, `${base}/bin/${tool}`);
    for (const library of await librariesOf(program, stop)) libraries.add(library);
  }
  for (const library of libraries) {
    mkdirSync(dirname(base + library), { recursive: true });
    copyFileSync(library, base + library);
  }
  writeFiles(base, BASE_FILES);
  return libraries.size;
}

function findTool(name: string): string {
  const path = `${process.env['PATH'] ?? ''}:/usr/bin:/bin`;
  // /bin before PATH: a version manager's shims are no programs.
  for (const dir of ['/bin', '/usr/bin', ...path.split(':')]) {
    const file = `${dir}/${name}`;
    if (executable(file)) return file;
  }
  throw new UserError(`the demonstration needs the program ${name}, and it is not on PATH`);
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false; // not here: the caller looks elsewhere
  }
}

/** The files that ldd(1) names: `NAME => /path (0x…)` and the loader's `/path (0x…)`. None for a static program. */
async function librariesOf(program: string, stop: AbortSignal): Promise<string[]> {
  const { output } = await run('ldd', [program], stop);
  const found = output.split('\n').map((line) => /(?:^|\s)(\/\S+) \(0x/.exec(line)?.[1]);
  return found.filter((path) => path !== undefined && existsSync(path)) as string[];
}

function writeFiles(root: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(root + path), { recursive: true });
    writeFileSync(root + path, text);
  }
}

function whiteout(sys: Sys, dir: string, name: string): void {
  mkdirSync(dir, { recursive: true });
  withDirectory(sys, dir, (fd) => makeWhiteout(sys, fd, name), `make the whiteout ${dir}/${name}`);
}

function opaque(sys: Sys, dir: string): void {
  const mark = (fd: number): number =>
    sys.native.setxattr(fd, '', `${TRUSTED}opaque`, SMALL, sys.put('y', SMALL), 0);
  withDirectory(sys, dir, mark, `mark ${dir} opaque`);
}

function withDirectory(sys: Sys, dir: string, act: (fd: number) => number, what: string): void {
  const fd = sys.native.openat2(AT_FDCWD, dir, O_PATH | O_DIRECTORY, 0, 0);
  const code = fd < 0 ? fd : act(fd);
  if (fd >= 0) sys.native.close(fd);
  if (code < 0) throw new UserError(`cannot ${what}: ${errnoText(code)}; run this as root`);
}
