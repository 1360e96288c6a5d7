/**
 * Checks on disk before a mount is tried. Each refusal is one sentence: what, which path, what to do. When in
 * doubt, the mount is refused.
 */
import { constants, readdirSync, readFileSync } from 'node:fs';
import { display } from '../base/bytes.js';
import { E, errnoText, UserError } from '../base/errno.js';
import type { OverlaySpec } from '../overlay/spec.js';
import { administersMachine } from '../sys/userns.js';
import type { MountPlan } from '../options/plan.js';
import { checkForeignUse, isChangedByKernel } from './inUse.js';
import { mountsOfTypes } from '../sys/mountTable.js';
import { type LayersOf, MAX_DEPTH, Nesting, UNIONS } from './nesting.js';
import {
  Ancestry,
  bytes,
  errnoOf,
  type FileId,
  type Found,
  isMissing,
  look,
  mayAccess,
} from '../sys/paths.js';

/** What an engine thread is asked (engineMain.ts). */
export type Question =
  | {
      readonly kind: 'plan';
      readonly plan: MountPlan;
      /** Device ("major:minor") of each live mount of the host -> st_dev of its layers. */
      readonly layers: ReadonlyMap<string, ReadonlySet<string>>;
    }
  /** Asked when the workdir is locked: only then does nobody else set the mark. */
  | { readonly kind: 'volatile'; readonly work: string };

/** What the checks learned and the mount needs. */
export interface Checked {
  /** The mountpoint without symlinks, as the mount table will show it. */
  readonly mountpoint: string;
  /** st_dev of every layer, the upper included. */
  readonly devices: ReadonlySet<string>;
  /** Identities of the layers that are only read. */
  readonly readIds: ReadonlySet<FileId>;
  /** Identity of an upper that is only read. */
  readonly readUpperId?: FileId;
  /** A mount of kernel overlayfs changes it. */
  readonly readUpperChanges?: true;
  /** Identities of the upper and the workdir of a mount that changes them. */
  readonly upperId?: FileId;
  readonly workId?: FileId;
}

function directory(role: string, path: string, create: string): Found {
  const found = look(path);
  if (typeof found === 'number') {
    const shown = `${role} ${display(path)}`;
    if (isMissing(found)) throw new UserError(`${shown} does not exist: ${create}`);
    if (found === E.ENOTCONN) {
      throw new UserError(
        `${shown} cannot be read: ${errnoText(found)}; its server is gone, unmount it first`,
      );
    }
    throw new UserError(`${shown} cannot be read: ${errnoText(found)}`);
  }
  if (!found.isDirectory) {
    throw new UserError(`${role} ${display(path)} is not a directory: ${create}`);
  }
  return found;
}

function readable(role: string, path: string): void {
  const errno = mayAccess(path, constants.R_OK | constants.X_OK);
  if (errno !== 0) {
    throw new UserError(
      `${role} ${display(path)} cannot be read: ${errnoText(errno)}; give this user read and search permission`,
    );
  }
}

function writable(role: string, path: string): void {
  const errno = mayAccess(path, constants.W_OK | constants.X_OK);
  if (errno === 0) return;
  if (errno === E.EROFS) {
    throw new UserError(
      `${role} ${display(path)} is on a read-only file system: choose another, or mount with ro`,
    );
  }
  throw new UserError(
    `${role} ${display(path)} cannot be written: ${errnoText(errno)}; choose another, or mount with ro`,
  );
}

/** Upper and workdir: both there, writable, on one file system, apart from each other. */
function checkUpper(
  upper: string,
  work: string,
  ancestry: Ancestry,
): { upper: Found; work: Found } {
  const upperFound = directory('upperdir', upper, 'create it or correct upperdir');
  const workFound = directory('workdir', work, 'create it or correct workdir');
  readable('upperdir', upper);
  writable('upperdir', upper);
  writable('workdir', work);
  if (upperFound.device !== workFound.device) {
    throw new UserError(
      `workdir ${display(work)} is on another file system than upperdir ${display(upper)}: put it on the same one`,
    );
  }
  if (ancestry.inside(work, upperFound.id) || ancestry.inside(upper, workFound.id)) {
    throw new UserError(
      `workdir ${display(work)} and upperdir ${display(upper)} overlap: use two directories side by side`,
    );
  }
  return { upper: upperFound, work: workFound };
}

/**
 * Kernel overlayfs marks a workdir with a directory in work/incompat for every feature that a later
 * mount must know (ovl_workdir_cleanup_recurse in fs/overlayfs/readdir.c); `volatile` is the only
 * one there is, and it means that the upper may have lost data.
 */
export function checkIncompat(work: string): void {
  const path = `${work}/work/incompat`;
  let marks: string[];
  try {
    marks = readdirSync(bytes(path), { encoding: 'latin1' });
  } catch (error) {
    const errno = errnoOf(error);
    if (isMissing(errno)) return;
    throw new UserError(`cannot read ${display(path)}: ${errnoText(errno)}`);
  }
  if (marks.includes('volatile')) {
    throw new UserError(
      `workdir ${display(work)} was last used by a volatile mount, so its upperdir may lack data: start with a fresh upperdir and workdir, or remove ${display(path)}/volatile if nothing crashed since`,
    );
  }
  if (marks.length > 0) {
    throw new UserError(
      `workdir ${display(work)} is marked with the unknown feature '${display(marks[0])}': use another workdir`,
    );
  }
}

interface Layer extends Found {
  readonly role: string;
  readonly path: string;
}

/** Each lower, of either kind: there, readable, given once. */
function checkLowers(spec: OverlaySpec): Layer[] {
  const seen = new Set<string>();
  const check = (role: string, path: string): Layer => {
    const found = directory(role, path, 'correct lowerdir');
    readable(role, path);
    if (seen.has(found.id)) {
      throw new UserError(`${role} ${display(path)} is given twice: leave one out`);
    }
    seen.add(found.id);
    return { ...found, role, path };
  };
  return [
    ...spec.lowers.map((path) => check('lower layer', path)),
    ...(spec.dataLayers ?? []).map((path) => check('data-only layer', path)),
  ];
}

/**
 * No layer lies in another: a change would show twice, or change a layer under the mount
 * (ovl_check_overlapping_layers; an upper in a lower, which the kernel finds out at lookup, too).
 */
function checkOverlap(layers: readonly Layer[], ancestry: Ancestry): void {
  const byId = new Map(layers.toReversed().map((layer) => [layer.id, layer]));
  for (const inner of layers) {
    const top = byId.get(inner.id);
    if (top && top !== inner) {
      throw new UserError(
        `${top.role} ${display(top.path)} is also a ${inner.role}: use another directory`,
      );
    }
    for (const id of ancestry.of(inner.path)) {
      const outer = byId.get(id);
      if (!outer || outer === inner) continue;
      throw new UserError(
        `${inner.role} ${display(inner.path)} lies inside ${outer.role} ${display(outer.path)}: move one of them`,
      );
    }
  }
}

/**
 * Redirects to data-only layers are `trusted.*` xattrs, which only root of the initial user namespace
 * can read (xattr_permission); anybody else would see files full of NUL bytes.
 */
function checkDataLayers(spec: OverlaySpec): void {
  const first = spec.dataLayers?.at(0);
  if (first === undefined || administersMachine()) return;
  throw new UserError(
    `data-only layer ${display(first)} is reached by trusted.* xattrs, which this user cannot read: mount it as root outside a user namespace`,
  );
}

function checkDepth(layers: readonly Layer[], nesting: Nesting): void {
  const depths = new Map<string, number>();
  for (const { role, path, device } of layers) {
    const depth = depths.get(device) ?? nesting.depth(device);
    depths.set(device, depth);
    if (depth < MAX_DEPTH) continue;
    throw new UserError(
      `${role} ${display(path)} lies on ${depth} union mounts, one on the other, and this would be one more than the ${MAX_DEPTH} that can be stacked: give their layers instead`,
    );
  }
}

function checkMountpoint(path: string, ancestry: Ancestry): string {
  directory('mount point', path, 'create a directory there');
  const resolved = ancestry.resolve(path);
  if (typeof resolved === 'number') {
    throw new UserError(`mount point ${display(path)} cannot be resolved: ${errnoText(resolved)}`);
  }
  return resolved;
}

/** Registering backing files needs capable(CAP_SYS_ADMIN), not that of a user namespace (fuse_backing_open). */
function checkPassthrough(): void {
  if (administersMachine()) return;
  throw new UserError(
    'data=passthrough needs CAP_SYS_ADMIN in the initial user namespace: mount as root there, or leave the option out',
  );
}

/**
 * The mount must not show inside what serves it, or serving would wait for itself. Lowers are
 * private clones, in which nothing mounted shows, where the kernel lets us make them
 * (`clones`); the upper and the workdir are used as they are. A mount on a layer's root hides
 * nothing from us: it is open already.
 */
function checkInside(
  mountpoint: string,
  layers: readonly Layer[],
  ancestry: Ancestry,
  clones: (path: string) => boolean,
): void {
  const [own, ...above] = ancestry.of(mountpoint);
  for (const { id, role, path } of layers) {
    if (id === own || !above.includes(id)) continue;
    if (role !== 'upperdir' && role !== 'workdir' && clones(path)) continue;
    throw new UserError(
      `mount point ${display(mountpoint)} lies inside ${role} ${display(path)}: mount it elsewhere`,
    );
  }
}

/** Where it is mounted already, nothing can be asked of the place: its first answer is to come from us. */
function checkTarget(
  plan: MountPlan,
  layers: readonly Layer[],
  ancestry: Ancestry,
  clones: (path: string) => boolean,
): string {
  if (plan.givenFd !== undefined) return plan.mountpoint;
  const mountpoint = checkMountpoint(plan.mountpoint, ancestry);
  checkInside(mountpoint, layers, ancestry, clones);
  return mountpoint;
}

/** mount(2) takes labels only with SELinux, which registers selinuxfs when it is on. */
function checkLabels(labels: readonly string[]): void {
  if (labels.length === 0) return;
  if (/\bselinuxfs$/m.test(readFileSync('/proc/filesystems', 'latin1'))) return;
  throw new UserError(
    `option ${display(labels[0])} needs SELinux, which this machine does not run: leave it out`,
  );
}

/** What the checks ask of the process that is to serve the mount. */
interface Server {
  readonly layersOf: LayersOf;
  /** A private clone of the mount at the path can be made. */
  readonly clones: (path: string) => boolean;
}

/** Throws UserError for the first thing that is wrong. Changes nothing. */
export function checkPlan(plan: MountPlan, server: Server): Checked {
  checkLabels(plan.labels);
  if (plan.spec.data === 'passthrough') checkPassthrough();
  const { upper, work, readOnly } = plan.spec;
  checkDataLayers(plan.spec);
  const ancestry = new Ancestry();
  const lowers = checkLowers(plan.spec);
  const layers = [...lowers];
  let changed: { upper: Found; work: Found } | undefined;
  let readUpper: Found | undefined;
  if (upper !== undefined && (readOnly || work === undefined)) {
    // Only read, so this host may have it in use (an engine looks at a live upper so), and no
    // workdir is touched.
    readUpper = directory('upperdir', upper, 'create it or correct upperdir');
    readable('upperdir', upper);
    layers.unshift({ ...readUpper, role: 'upperdir', path: upper });
  } else if (upper !== undefined && work !== undefined) {
    changed = checkUpper(upper, work, ancestry);
    layers.unshift(
      { ...changed.upper, role: 'upperdir', path: upper },
      { ...changed.work, role: 'workdir', path: work },
    );
  }
  checkOverlap(layers, ancestry);
  const rows = mountsOfTypes(UNIONS);
  checkDepth(layers, new Nesting(server.layersOf, rows));
  if (changed) checkForeignUse(plan.spec, layers, rows, ancestry);
  const mountpoint = checkTarget(plan, layers, ancestry, server.clones);
  const changes = readUpper && isChangedByKernel({ path: upper ?? '', id: readUpper.id }, rows);
  return {
    mountpoint,
    devices: new Set(layers.map(({ device }) => device)),
    readIds: new Set((changed ? lowers : layers).map(({ id }) => id)),
    ...(readUpper ? { readUpperId: readUpper.id } : {}),
    ...(changes ? { readUpperChanges: true } : {}),
    ...(changed ? { upperId: changed.upper.id, workId: changed.work.id } : {}),
  };
}
