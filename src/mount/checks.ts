/**
 * What must be true on disk before a mount is tried. Each refusal is one sentence: what, which path,
 * what to do. Rather no mount than a wrong one.
 */
import { constants, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { display } from '../base/bytes.js';
import { E, errnoText, UserError } from '../base/errno.js';
import type { OverlaySpec } from '../overlay/spec.js';
import type { MountPlan } from './options.js';
import {
  bytes,
  enclosing,
  errnoOf,
  type FileId,
  type Found,
  isMissing,
  look,
  mayAccess,
  realpath,
} from './paths.js';

/** What the checks learned and the mount needs. */
export interface Checked {
  /** The mountpoint without symlinks, as the mount table will show it. */
  readonly mountpoint: string;
  /** st_dev of every layer, the upper included. */
  readonly devices: ReadonlySet<string>;
  /** Identities of the layers that are only read. */
  readonly readIds: ReadonlySet<FileId>;
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
function checkUpper(upper: string, work: string): { upper: Found; work: Found } {
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
  if (enclosing(work).has(upperFound.id) || enclosing(upper).has(workFound.id)) {
    throw new UserError(
      `workdir ${display(work)} and upperdir ${display(upper)} overlap: use two directories side by side`,
    );
  }
  checkIncompat(work);
  return { upper: upperFound, work: workFound };
}

/**
 * Kernel overlayfs marks a workdir with a directory in work/incompat for every feature that a later
 * mount must know (ovl_workdir_cleanup_recurse in fs/overlayfs/readdir.c); `volatile` is the only
 * one there is, and it means that the upper may have lost data.
 */
function checkIncompat(work: string): void {
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

/** A change to the upper must never change a lower under a live mount, nor the reverse. */
function checkOverlap(
  role: string,
  path: string,
  own: Found,
  lowers: readonly (readonly [string, Found])[],
): void {
  const above = enclosing(path);
  for (const [lower, found] of lowers) {
    if (found.id === own.id) {
      throw new UserError(`${role} ${display(path)} is also a lower layer: use another directory`);
    }
    if (above.has(found.id)) {
      throw new UserError(
        `${role} ${display(path)} lies inside the lower layer ${display(lower)}: move it out of there`,
      );
    }
    if (enclosing(lower).has(own.id)) {
      throw new UserError(
        `lower layer ${display(lower)} lies inside ${role} ${display(path)}: move one of them`,
      );
    }
  }
}

function checkLowers(spec: OverlaySpec): (readonly [string, Found])[] {
  const seen = new Set<string>();
  return spec.lowers.map((lower) => {
    const found = directory('lower layer', lower, 'correct lowerdir');
    readable('lower layer', lower);
    // As the kernel (ovl_setup_trap: "overlapping lowerdir path", ELOOP); nested lowers are allowed.
    if (seen.has(found.id)) {
      throw new UserError(`lower layer ${display(lower)} is given twice: leave one out`);
    }
    seen.add(found.id);
    return [lower, found] as const;
  });
}

function checkMountpoint(path: string): string {
  directory('mount point', path, 'create a directory there');
  const resolved = realpath(path);
  if (typeof resolved === 'number') {
    throw new UserError(`mount point ${display(path)} cannot be resolved: ${errnoText(resolved)}`);
  }
  return resolved;
}

/** The initial user namespace (PROC_USER_INIT_INO of include/linux/proc_ns.h). */
const INITIAL_USER_NAMESPACE = 'user:[4026531837]';
const CAP_SYS_ADMIN = 21n;

/** Registering backing files needs capable(CAP_SYS_ADMIN), not that of a user namespace (fuse_backing_open). */
function checkPassthrough(): void {
  const status = readFileSync('/proc/self/status', 'latin1');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const initial = readlinkSync('/proc/self/ns/user') === INITIAL_USER_NAMESPACE;
  if (initial && (effective & (1n << CAP_SYS_ADMIN)) !== 0n) return;
  throw new UserError(
    'data=passthrough needs CAP_SYS_ADMIN in the initial user namespace: mount as root there, or leave the option out',
  );
}

/** Throws UserError for the first thing that is wrong. Changes nothing. */
export function checkPlan(plan: MountPlan): Checked {
  const { upper, work, readOnly } = plan.spec;
  if (plan.spec.data === 'passthrough') checkPassthrough();
  const lowers = checkLowers(plan.spec);
  const read = lowers.map(([, found]) => found);
  if (readOnly || upper === undefined || work === undefined) {
    if (upper !== undefined) {
      // Only read, so it may be in use, and no workdir is touched: an engine looks at a live upper so.
      read.push(directory('upperdir', upper, 'create it or correct upperdir'));
      readable('upperdir', upper);
    }
    return { mountpoint: checkMountpoint(plan.mountpoint), ...identities(read) };
  }
  const found = checkUpper(upper, work);
  checkOverlap('upperdir', upper, found.upper, lowers);
  checkOverlap('workdir', work, found.work, lowers);
  const { devices, readIds } = identities(read);
  return {
    mountpoint: checkMountpoint(plan.mountpoint),
    devices: new Set([...devices, found.upper.device]),
    readIds,
    upperId: found.upper.id,
    workId: found.work.id,
  };
}

function identities(layers: readonly Found[]): Pick<Checked, 'devices' | 'readIds'> {
  return {
    devices: new Set(layers.map(({ device }) => device)),
    readIds: new Set(layers.map(({ id }) => id)),
  };
}
