/**
 * What a test needs of the machine. On a developer's machine a test that lacks something is skipped, with the
 * reason. With CI=true that is an error, so that nothing is skipped silently.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { REPOSITORY } from './root.js';

export interface Needs {
  readonly root?: boolean;
  /** /dev/fuse can be opened. */
  readonly fuse?: boolean;
  readonly kernelOverlay?: boolean;
  /** build/Release/stratafs and dist/ have been built. */
  readonly stratafs?: boolean;
  /** Programs that must be on PATH. */
  readonly programs?: readonly string[];
  /** Loop devices can be made (`losetup -f`). */
  readonly loop?: boolean;
  /** User and mount namespaces can be made (`unshare -Um`): not in a chroot. */
  readonly namespaces?: boolean;
  /** Mount namespaces can be made (`unshare -m`): not in a chroot whose root is no mount. */
  readonly mountNamespaces?: boolean;
  /** File systems the kernel must know, as in /proc/filesystems. */
  readonly fileSystems?: readonly string[];
}

/** Where a program is, or undefined. /sbin directories count, whoever runs the tests. */
export function findProgram(name: string): string | undefined {
  const path = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;
  for (const dir of path.split(delimiter)) {
    const file = join(dir, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not here; whether it is anywhere is what the loop finds out.
    }
  }
  return undefined;
}

function opens(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The binary under test; STRATAFS_BIN names another one with the same command line. */
export function stratafsBinary(): string {
  return process.env['STRATAFS_BIN'] ?? join(REPOSITORY, 'build/Release/stratafs');
}

/** The first thing that is missing, as a sentence, or undefined. */
export function missing(needs: Needs): string | undefined {
  if (needs.root === true && process.getuid?.() !== 0) return 'needs root';
  if (needs.fuse === true && !opens('/dev/fuse')) return 'needs /dev/fuse';
  if (
    needs.kernelOverlay === true &&
    !/\toverlay$/m.test(readFileSync('/proc/filesystems', 'utf8'))
  )
    return 'needs overlayfs in the kernel (modprobe overlay)';
  if (needs.stratafs === true && !existsSync(stratafsBinary()))
    return `needs ${stratafsBinary()} (run npm install)`;
  if (needs.loop === true && spawnSync('losetup', ['-f']).status !== 0) return 'needs loop devices';
  if (needs.namespaces === true && spawnSync('unshare', ['-Urm', 'true']).status !== 0)
    return 'needs user and mount namespaces (not in a chroot)';
  if (needs.mountNamespaces === true && spawnSync('unshare', ['-m', 'true']).status !== 0)
    return 'needs mount namespaces (not in a chroot whose root is no mount)';
  const known = readFileSync('/proc/filesystems', 'utf8').split(/\s+/);
  const unknown = needs.fileSystems?.find((name) => !known.includes(name));
  if (unknown !== undefined) return `needs ${unknown} in the kernel (modprobe ${unknown})`;
  const program = needs.programs?.find((name) => findProgram(name) === undefined);
  return program === undefined ? undefined : `needs the program ${program}`;
}

/**
 * True when the test can run. Otherwise prints why not (for `describe.skipIf(!has({...}))`), or,
 * with CI=true, throws.
 */
export function has(needs: Needs): boolean {
  const reason = missing(needs);
  if (reason === undefined) return true;
  if (process.env['CI'] === 'true') throw new Error(`with CI=true nothing is skipped: ${reason}`);
  process.stderr.write(`skipped: ${reason}\n`);
  return false;
}
