/**
 * Finds uppers and workdirs that mounts of kernel overlayfs use. The kernel's own mark (I_OVL_INUSE) is not
 * visible, so this namespace's mount table tells.
 *
 * - An upper named by a relative path is recognized by its last component and by the inode number of the
 *   mount's root, which is that of its upper (ovl_get_root).
 * - A workdir is recognized by that upper, when both paths start at one directory.
 *
 * Our own mounts recognize each other by flock(2): locks.ts.
 */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import type { OverlaySpec } from '../overlay/spec.js';
import { type MountRow, statDevice, unescapeOctal } from '../sys/mountTable.js';
import { type Ancestry, type FileId, type Found, isOutOfReach, look } from '../sys/paths.js';

/** What a mount wants with a directory, and how much of ovl_report_in_use applies to it. */
interface Wanted {
  readonly role: string;
  readonly path: string;
  readonly id: FileId;
  /** Refused when it is such a directory. */
  readonly itself: boolean;
  /** Refused when it lies in one (ovl_check_layer). */
  readonly inside: boolean;
}

/** What is known of a directory that may be in use. */
type Candidate = Pick<Wanted, 'path' | 'id'>;

const DIRECTORY = /(?:^|,)(upperdir|workdir)=([^,]*)/g;

/**
 * Kernel overlayfs with an index refuses (EBUSY) what another of its mounts changes, also as a layer,
 * and what lies in that; without one it warns. Two that change one directory we always refuse.
 * Throws UserError.
 */
export function checkForeignUse(
  spec: OverlaySpec,
  layers: readonly Pick<Wanted, 'role' | 'path' | 'id'>[],
  rows: readonly MountRow[],
  ancestry: Ancestry,
): void {
  const wanted = layers.map(({ role, path, id }) => {
    const changed = role === 'upperdir' || role === 'workdir';
    const on = spec.index === 'on';
    return { role, path, id, itself: changed || on, inside: changed ? spec.index !== 'off' : on };
  });
  checkInUse(wanted, rows, ancestry);
}

/** Whether a kernel overlay of `rows` (any types) changes `upper`, which is only to be read. */
export const isChangedByKernel = (upper: Candidate, rows: readonly MountRow[]): boolean =>
  directoriesInUse(rows, [upper]).has(upper.id);

/** Throws UserError for the first of `wanted` that a kernel overlay of `rows` (any types) has in use. */
function checkInUse(
  wanted: readonly Wanted[],
  rows: readonly MountRow[],
  ancestry: Ancestry,
): void {
  const used = wanted.some(({ itself, inside }) => itself || inside)
    ? directoriesInUse(rows, wanted)
    : new Map<FileId, string>();
  if (used.size === 0) return;
  for (const { role, path, itself, inside } of wanted) {
    let own = true;
    for (const id of ancestry.of(path)) {
      const user = (own ? itself : inside) ? used.get(id) : undefined;
      if (user !== undefined) throw new UserError(refusal(role, path, own, user));
      own = false;
    }
  }
}

function refusal(role: string, path: string, own: boolean, user: string): string {
  const where = own ? 'is in use by' : 'lies inside a directory in use by';
  return `${role} ${display(path)} ${where} the overlay mount on ${display(user)}: unmount that first, or use another directory`;
}

/** Identity of each directory in use → where the mount is. */
function directoriesInUse(
  rows: readonly MountRow[],
  wanted: readonly Candidate[],
): Map<FileId, string> {
  const used = new Map<FileId, string>();
  const seen = new Set<string>();
  for (const row of rows) {
    // A bind mount has a row of its own, of the same file system.
    if (row.type !== 'overlay' || seen.has(row.device)) continue;
    seen.add(row.device);
    const given = new Map<string, string>();
    for (const [, role, value] of row.options.matchAll(DIRECTORY)) {
      // The options as they were given, in which a backslash escapes anything (ovl_unescape).
      given.set(role, unescapeOctal(value).replace(/\\(.)/gs, '$1'));
    }
    const [upper, work] = [given.get('upperdir') ?? '', given.get('workdir') ?? ''];
    const ids = [
      upper.startsWith('/') ? identity(upper) : relativeUpper(upper, row, wanted),
      work.startsWith('/') ? identity(work) : relativeWork(work, upper, row, wanted),
    ];
    for (const id of ids) if (id !== undefined) used.set(id, row.mountpoint);
  }
  return used;
}

const identity = (path: string): FileId | undefined => examine(path)?.id;

/** What is at a path of another mount; undefined for what is out of our reach. Throws a UserError. */
function examine(path: string): Found | undefined {
  const found = look(path);
  if (typeof found !== 'number') return found;
  if (isOutOfReach(found)) return undefined;
  throw new UserError(
    `cannot tell whether ${display(path)} of another overlay mount is in use: ${errnoText(found)}`,
  );
}

/** The identity of the one of `wanted` that the relative upperdir of the mount `row` means. */
function relativeUpper(
  upper: string,
  row: MountRow,
  wanted: readonly Candidate[],
): FileId | undefined {
  const last = namesOf(upper).at(-1);
  const candidates = wanted.filter(
    ({ path }) => last !== undefined && namesOf(path).at(-1) === last,
  );
  if (candidates.length === 0) return undefined;
  const root = rootNumber(row);
  return candidates.find(({ id }) => inodeOf(id) === root)?.id;
}

/**
 * The same for a relative workdir. It tells from which directory `row` was mounted, if the upperdir, from
 * there, is what the mount shows.
 */
function relativeWork(
  work: string,
  upper: string,
  row: MountRow,
  wanted: readonly Candidate[],
): FileId | undefined {
  const names = namesOf(work);
  if (names.length === 0 || upper === '' || upper.startsWith('/')) return undefined;
  return wanted.find(({ path }) => {
    const all = namesOf(path);
    const start = all.slice(0, -names.length);
    if (all.slice(start.length).join('/') !== names.join('/')) return false;
    const found = identity(`/${[...start, upper].join('/')}`);
    return found !== undefined && inodeOf(found) === rootNumber(row);
  })?.id;
}

const namesOf = (path: string): string[] =>
  path.split('/').filter((name) => name !== '' && name !== '.');

const inodeOf = (id: FileId): string => id.slice(id.indexOf(':') + 1);

/** st_ino of the root of a mount; undefined when something else is mounted over it. */
function rootNumber({ mountpoint, device }: MountRow): string | undefined {
  const found = examine(mountpoint);
  return found?.device === statDevice(device) ? inodeOf(found.id) : undefined;
}
