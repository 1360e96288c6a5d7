/** Where the store lies. Paths are latin1, one character per byte. */
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';

/** Set by the launcher when it has entered the user namespace of an ordinary user: `UID:GID` outside. */
const ROOTLESS_VARIABLE = 'STRATAFS_ROOTLESS';

/** The ordinary user for whom this process is root in a user namespace; undefined for real root. */
export function rootlessUser(
  environment: NodeJS.ProcessEnv = process.env,
): { readonly uid: number; readonly gid: number } | undefined {
  const match = /^(\d+):(\d+)$/.exec(environment[ROOTLESS_VARIABLE] ?? '');
  return match ? { uid: Number(match[1]), gid: Number(match[2]) } : undefined;
}

function absolute(path: string, from: string): string {
  if (!path.startsWith('/')) throw new UserError(`${from} must be an absolute path, not '${path}'`);
  return toLatin1(path.replace(/(?<=.)\/+$/, ''));
}

/**
 * The store's root directory. In this order: `--root`, `STRATAFS_ROOT`, `/var/lib/stratafs` for root,
 * `$XDG_DATA_HOME/stratafs` or `$HOME/.local/share/stratafs` for everybody else.
 */
export function storeRoot(
  option?: string,
  environment: NodeJS.ProcessEnv = process.env,
  euid: number = process.geteuid?.() ?? 0,
): string {
  if (option !== undefined) return absolute(option, '--root');
  const given = environment['STRATAFS_ROOT'] ?? '';
  if (given !== '') return absolute(given, 'STRATAFS_ROOT');
  if (euid === 0 && rootlessUser(environment) === undefined) return '/var/lib/stratafs';
  const data = environment['XDG_DATA_HOME'] ?? '';
  // The XDG base directory specification: a relative path is ignored.
  if (data.startsWith('/')) return toLatin1(`${data}/stratafs`);
  const home = environment['HOME'] ?? '';
  if (home.startsWith('/')) return toLatin1(`${home}/.local/share/stratafs`);
  throw new UserError('no place for the store: set HOME, XDG_DATA_HOME or STRATAFS_ROOT');
}

/**
 * Where the store's run-time state lies (what must not survive a reboot): `/run/stratafs/store` for
 * root, `$XDG_RUNTIME_DIR/stratafs/store` for others, each with a directory per store root.
 */
export function runRoot(
  root: string,
  environment: NodeJS.ProcessEnv = process.env,
  euid: number = process.geteuid?.() ?? 0,
): string {
  const user = rootlessUser(environment);
  const runtime = environment['XDG_RUNTIME_DIR'] ?? '';
  const own =
    euid === 0 && user === undefined
      ? '/run/stratafs'
      : runtime.startsWith('/')
        ? toLatin1(`${runtime}/stratafs`)
        : `/tmp/stratafs-${user?.uid ?? euid}`;
  // A name that is short (socket paths have 107 bytes) and different for each root.
  let hash = 0n;
  for (const character of root) {
    hash = BigInt.asUintN(48, (hash ^ BigInt(character.charCodeAt(0))) * 0x100_0000_01b3n);
  }
  return `${own}/store-${hash.toString(36)}`;
}
