/**
 * `stratafs install docker`: from 28 on containerd's image store on our snapshotter, before that the storage
 * driver fuse-overlayfs with a program of that name which is ours; and the volume plug-in.
 */
import { isDeepStrictEqual } from 'node:util';
import { UserError } from '../../base/errno.js';
import { VOLUME_PLUGIN_UNIT } from '../../driver/setup/units.js';
import {
  containerdPlan,
  ENGINE_FLAGS,
  refuseUser,
  refuseWithSnapshots,
  SNAPSHOTTER,
} from './containerd.js';
import type { PlannedEdit } from './edits.js';
import { majorOf } from './program.js';
import { writerOf } from './files.js';
import { needRoot, socketPath, unitPlan } from './services.js';
import { shim } from './shim.js';
import { type InstallPlan, target } from './target.js';

const CONFIG = '/etc/docker/daemon.json';
/** The first one without plug-ins for storage drivers; its containerd is 2.x, or 1.7. */
const IMAGE_STORE = 28;

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parsed(text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${CONFIG} is not JSON (${(error as Error).message}): mend it first`);
  }
  if (!isObject(value)) throw new UserError(`${CONFIG} is no JSON object: mend it first`);
  return value;
}

/** `before` with `more`; throws UserError where it says something else. */
function merged(before: Json, more: Json): Json {
  const result: Record<string, unknown> = { ...before };
  for (const [key, value] of Object.entries(more)) {
    const there = before[key];
    if (there === undefined) result[key] = value;
    else if (isObject(there) && isObject(value)) result[key] = merged(there, value);
    else if (!isDeepStrictEqual(there, value)) {
      throw new UserError(
        `${CONFIG} has "${key}": ${JSON.stringify(there)}: make it ${JSON.stringify(value)}, or take it out`,
      );
    }
  }
  return result;
}

const text = (value: Json): string => `${JSON.stringify(value, undefined, 2)}\n`;

function edit(before: string | undefined, more: Json): string {
  if (before === undefined || before.trim() === '') return text(more);
  const there = parsed(before);
  const result = merged(there, more);
  return isDeepStrictEqual(there, result) ? before : text(result);
}

const configEdit = (more: Json): PlannedEdit => ({
  path: CONFIG,
  edit: (before) => edit(before, more),
  lines: text(more),
});

/** Both plans; systemd is told once of what both need. */
function together(first: InstallPlan, second: InstallPlan): InstallPlan {
  const union = <T>(a: readonly T[] = [], b: readonly T[] = []): T[] => [
    ...new Map([...a, ...b].map((each) => [JSON.stringify(each), each])).values(),
  ];
  return {
    files: [...first.files, ...second.files],
    edits: [...(first.edits ?? []), ...(second.edits ?? [])],
    directories: [...(first.directories ?? []), ...(second.directories ?? [])],
    installed: union(first.installed, second.installed),
    removing: union(first.removing, second.removing),
    removed: union(first.removed, second.removed),
    notes: union(first.notes, second.notes),
  };
}

const NOTHING: InstallPlan = { files: [] };
const RESTART = 'restart docker; images and containers of another storage driver do not show in it';

function storage(engine: number): InstallPlan {
  if (engine < IMAGE_STORE) {
    return {
      // The first directory of the PATH that systemd gives to dockerd.
      files: [shim('/usr/local/sbin/fuse-overlayfs')],
      edits: [configEdit({ 'storage-driver': 'fuse-overlayfs' })],
      directories: ['/etc/docker'],
      notes: [RESTART],
    };
  }
  const config = { features: { 'containerd-snapshotter': true }, 'storage-driver': 'stratafs' };
  // Where the snapshotter was set up for containerd itself, it is used, and stays when Docker's goes.
  const there = writerOf(socketPath(SNAPSHOTTER));
  const plan =
    there === undefined || there === 'docker'
      ? containerdPlan({ major: majorOf('containerd') ?? 2, cri: false })
      : NOTHING;
  return {
    ...plan,
    edits: [...(plan.edits ?? []), configEdit(config)],
    directories: [...(plan.directories ?? []), '/etc/docker'],
    notes: [...(plan.notes ?? []), RESTART],
  };
}

function engineOf(given: number | undefined): number {
  const major = given ?? majorOf('dockerd');
  if (major !== undefined) return major;
  throw new UserError('dockerd is not on PATH, so its version is not known: say --engine MAJOR');
}

export const docker = target({
  name: 'docker',
  about: 'Be the storage of Docker and of its volumes',
  flags: {
    ...ENGINE_FLAGS,
    'volumes-only': { kind: 'bool', help: 'The volume plug-in alone: the storage stays as it is' },
    engine: {
      kind: 'int',
      value: 'MAJOR',
      help: 'The version of Docker, where dockerd is not on PATH',
    },
  },
  plan({ user, engine, 'volumes-only': volumesOnly }) {
    refuseUser(
      user,
      'a rootless Docker needs its plug-ins inside its own namespaces: docs/engines.md has the lines',
    );
    needRoot('the configuration of Docker');
    const units = unitPlan('stratafs-volume-plugin', VOLUME_PLUGIN_UNIT);
    return volumesOnly ? units : together(storage(engineOf(engine)), units);
  },
  mayGo({ force, engine, 'volumes-only': volumesOnly }) {
    if (!volumesOnly && engineOf(engine) >= IMAGE_STORE) refuseWithSnapshots(force);
  },
});
