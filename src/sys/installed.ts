/**
 * Finds the compiled files: built from source beside dist/, or in the package of this architecture, which npm
 * installs as an optional dependency (packaging/).
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from '../base/errno.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Architectures that have a package, as Node calls them. */
const PACKAGED = ['x64', 'arm64'];

/** `stratafs`: the launcher. */
type NativeFile = 'stratafs' | 'stratafs_native.node';

/** The path of a compiled file; throws UserError, with what to run, where there is none. */
export function nativeFile(name: NativeFile): string {
  return join(installedRoot(name), 'build/Release', name);
}

/**
 * The build id of the host that this install starts (packaging/buildId.js): that of the directory in
 * which the launcher is. Throws UserError where nothing was built.
 */
export function buildId(): string {
  return readFileSync(join(installedRoot('stratafs'), 'dist/build-id'), 'latin1').trim();
}

/** The directory of the launcher that this install starts. */
export const installRoot = (): string => installedRoot('stratafs').replace(/\/$/, '');

function installedRoot(name: NativeFile): string {
  for (const directory of candidates()) {
    if (existsSync(join(directory, 'build/Release', name))) return directory;
  }
  throw new UserError(howToGet());
}

/** As Node looks for packages: node_modules of this directory and of each one above it. */
function* candidates(): Generator<string> {
  yield ROOT;
  for (let at = ROOT; ; at = dirname(at)) {
    yield join(at, 'node_modules', packageName());
    if (at === dirname(at)) return;
  }
}

const packageName = (): string => `@stratafs/linux-${process.arch}-gnu`;

function howToGet(): string {
  if (existsSync(join(ROOT, 'native/build.js'))) {
    return `the native parts are not built: run npm run build in ${ROOT}`;
  }
  if (!PACKAGED.includes(process.arch)) {
    return `there is no package for ${process.arch}: build stratafs from source, see docs/install.md`;
  }
  const file = join(ROOT, 'package.json');
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string };
  return `the package ${packageName()} is missing: run npm install ${packageName()}@${version}`;
}
