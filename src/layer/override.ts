/**
 * Owner, mode and type of an object in an xattr, for users who may not or will not set the real ones. The
 * formats are those of fuse-overlayfs (`xattr_permissions`) and containers/storage (`force_mask`). The value
 * is `UID:GID:MODE[:TYPE]`, the mode in octal; a device's type is `char-MAJOR-MINOR`.
 */
import { E } from '../base/errno.js';
import {
  isChr,
  isDir,
  isLnk,
  isReg,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../base/mode.js';
import type { Sys } from '../sys/sys.js';
import { noXattr } from './absence.js';

/** Which xattr a layer uses; the mark on its root tells. `legacy` is fuse-overlayfs's before 1.14. */
export type OverrideForm = 'privileged' | 'containers' | 'legacy';

const KEYS: Readonly<Record<OverrideForm, string>> = {
  privileged: 'security.fuseoverlayfs.override_stat',
  containers: 'user.containers.override_stat',
  legacy: 'user.fuseoverlayfs.override_stat',
};

export const overrideKey = (form: OverrideForm): string => KEYS[form];

/** What each value of the option trusts: with 1 nothing that a user without privilege can write. */
export const FORMS: readonly (readonly OverrideForm[])[] = [
  [],
  ['privileged'],
  ['privileged', 'containers', 'legacy'],
];

/** The form of the layer whose root is `root`: undefined for none, -errno when that cannot be told. */
export function formOf(
  sys: Sys,
  root: number,
  forms: readonly OverrideForm[],
): OverrideForm | undefined | number {
  for (const form of forms) {
    const size = sys.native.getxattr(root, '.', KEYS[form], 0, 0);
    if (size >= 0) return form;
    if (!noXattr(size)) return size;
  }
  return undefined;
}

/** An object as it is to be shown. `mode` has the type; the IDs may be NO_ID: not told. */
export interface Override {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly major: number;
  readonly minor: number;
}

const VALUE = /^(-?\d{1,10}):(-?\d{1,10}):([0-7]{1,7})(?::([a-z]+)(?:-*(\d+)-(\d+))?)?$/;
const TYPES = new Map([
  ['dir', S_IFDIR],
  ['file', S_IFREG],
  ['symlink', S_IFLNK],
  ['pipe', S_IFIFO],
  ['socket', S_IFSOCK],
  ['block', S_IFBLK],
  ['char', S_IFCHR],
]);

/**
 * Reads a value; `disk` is the object's own mode. Undefined for what nobody may write: another form, a
 * directory or symlink for something else or the reverse, a 0:0 device (a whiteout is no object).
 * Type bits before the colon, which fuse-overlayfs 1.10 leaves there, say nothing.
 */
export function parseOverride(value: string, disk: number): Override | undefined {
  const found = VALUE.exec(value);
  if (!found) return undefined;
  const [uid, gid] = [Number(found[1]), Number(found[2])];
  if (uid > 0xffff_ffff || gid > 0xffff_ffff || uid < -0x8000_0000 || gid < -0x8000_0000) {
    return undefined;
  }
  const named = found.at(4);
  const type = named === undefined ? disk & S_IFMT : TYPES.get(named);
  if (type === undefined || (type !== (disk & S_IFMT) && !standsFor(disk, type))) return undefined;
  const [major, minor] = [Number(found.at(5) ?? 0), Number(found.at(6) ?? 0)];
  if (isChr(type) && !isChr(disk) && major === 0 && minor === 0) return undefined;
  if (major > 0xfff || minor > 0xf_ffff) return undefined;
  const mode = type | (parseInt(found[3], 8) & 0o7777);
  return { uid: uid >>> 0, gid: gid >>> 0, mode, major, minor };
}

/** A regular file may stand for a device, FIFO or socket. */
const standsFor = (disk: number, type: number): boolean =>
  isReg(disk) && !isDir(type) && !isLnk(type);

/** The value that shows an object as it is here. Only what a file may stand for is named by type. */
export function formatOverride({ uid, gid, mode, major, minor }: Override): string {
  const plain = `${uid}:${gid}:${(mode & 0o7777).toString(8)}`;
  switch (mode & S_IFMT) {
    case S_IFIFO:
      return `${plain}:pipe`;
    case S_IFSOCK:
      return `${plain}:socket`;
    case S_IFBLK:
      return `${plain}:block-${major}-${minor}`;
    case S_IFCHR:
      return `${plain}:char-${major}-${minor}`;
    default:
      return plain;
  }
}

/** xattrs of a user's kind exist on files and directories alone: other objects become files there. */
export const needsFile = (form: OverrideForm, mode: number): boolean =>
  form !== 'privileged' && !isReg(mode) && !isDir(mode) && !isLnk(mode);

/** In the form `containers` a client's `security.*` is stored below this prefix (fuse-overlayfs 1.14). */
const ENCODED = 'user.containers.override_';
const SECURITY = 'security.';
const OURS = [ENCODED, 'user.fuseoverlayfs.', 'security.fuseoverlayfs.'];
/** XATTR_NAME_MAX. */
const NAME_MAX = 255;

const isOurs = (key: string): boolean => OURS.some((prefix) => key.startsWith(prefix));

/** The name on disk of a client's xattr; -EPERM for a name that is ours. `form`: of the object's layer. */
export function encodeName(form: OverrideForm | undefined, key: string): string | number {
  if (isOurs(key)) return -E.EPERM;
  if (form !== 'containers' || !key.startsWith(SECURITY)) return key;
  return ENCODED.length + key.length > NAME_MAX ? -E.ERANGE : ENCODED + key;
}

/** The client's name of an xattr on disk; undefined when clients do not see it. */
export function decodeName(form: OverrideForm | undefined, key: string): string | undefined {
  if (form !== 'containers') return isOurs(key) ? undefined : key;
  if (key.startsWith(ENCODED + SECURITY)) {
    const name = key.slice(ENCODED.length);
    return isOurs(name) ? undefined : name;
  }
  return isOurs(key) || key.startsWith(SECURITY) ? undefined : key;
}
