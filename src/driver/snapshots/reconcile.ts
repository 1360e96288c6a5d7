/**
 * What a snapshotter does when it starts: it lists what is on the disk, compares that with the
 * manifests, sweeps what belongs to no snapshot, and reports.
 *
 * A process that is killed leaves one of these, and nothing else:
 * - directories, perhaps with a union mounted, whose snapshot was not published yet, or was removed;
 * - temporary files of manifests;
 * - the workdir and the mount point of what has just become a layer.
 */
import { mkdirSync, unlinkSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import type { Unions } from '../../client/unions.js';
import type { Home } from './home.js';
import type { Records, Snapshot } from './records.js';
import { removeTree } from './tree.js';

export interface Report {
  readonly committed: number;
  readonly active: number;
  readonly views: number;
  /** What was taken away, as paths below the root. */
  readonly swept: readonly string[];
  /** What a person has to look at, one sentence each. */
  readonly problems: readonly string[];
}

/** Fills `records` and puts the directories in order. With `sweep` false it only looks. */
export async function reconcile(
  home: Home,
  records: Records,
  unions: Unions,
  sweep = true,
): Promise<Report> {
  const damaged = records.load();
  const problems = damaged.map(
    (id) => `state/${id}.json is damaged: its data stay in snapshots/${id}`,
  );
  const swept: string[] = [];
  const act = async (what: string, how: () => Promise<void> | void): Promise<void> => {
    try {
      if (sweep) await how();
      swept.push(what);
    } catch (error) {
      problems.push(`${what} cannot be removed: ${String(error)}`);
    }
  };
  await sweepMounts(home, records, unions, act);
  const kept = new Set(damaged);
  for (const name of await readdir(home.snapshots)) {
    const id = /^[1-9]\d*$/.test(name) ? Number(name) : undefined;
    if (id === undefined) problems.push(`snapshots/${name} is nothing of ours: it stays`);
    else {
      records.useId(id);
      if (kept.has(id) || records.byId(id)) continue;
      await act(`snapshots/${name}`, () => removeTree(home.directory(id)));
    }
  }
  await sweepFiles(home, act);
  for (const snapshot of records.all()) {
    problems.push(...(await checkSnapshot(home, records, snapshot, act, sweep)));
  }
  const count = (kind: string): number =>
    records.all().filter((snapshot) => snapshot.kind === kind).length;
  const [committed, active, views] = [count('committed'), count('active'), count('view')];
  return { committed, active, views, swept, problems };
}

type Act = (what: string, how: () => Promise<void> | void) => Promise<void>;

/** Takes off what is mounted below `snapshots` and is not the union of a snapshot that has one. */
async function sweepMounts(home: Home, records: Records, unions: Unions, act: Act): Promise<void> {
  for (const place of unions.below(home.snapshots)) {
    const found = home.find(place);
    const snapshot = found && records.byId(found.id);
    const ours = snapshot?.shown === 'union' && snapshot.kind !== 'committed';
    if (ours && (await unions.isLive(place))) continue;
    await act(`the mount on ${place.slice(home.root.length + 1)}`, () => unions.end(place));
  }
}

async function sweepFiles(home: Home, act: Act): Promise<void> {
  for (const name of await readdir(home.state)) {
    if (!name.startsWith('.')) continue;
    await act(`state/${name}`, () => {
      unlinkSync(`${home.state}/${name}`);
    });
  }
  for (const name of await readdir(home.trash)) {
    await act(`trash/${name}`, () => removeTree(`${home.trash}/${name}`));
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') return false;
    // A dead union answers ENOTCONN: the directory is there.
    return true;
  }
}

/** Returns what is wrong with a snapshot. */
async function checkSnapshot(
  home: Home,
  records: Records,
  snapshot: Snapshot,
  act: Act,
  sweep: boolean,
): Promise<string[]> {
  const { id, name, kind } = snapshot;
  try {
    records.parents(snapshot);
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
  if (kind === 'committed') {
    if (!(await exists(home.part(id, 'fs')))) {
      return [`${name}: snapshots/${id}/fs is missing; remove the image and fetch it again`];
    }
    for (const part of ['work', 'merged'] as const) {
      if (!(await exists(home.part(id, part)))) continue;
      await act(`snapshots/${id}/${part}`, () => removeTree(home.part(id, part)));
    }
    return [];
  }
  if (!(await exists(home.part(id, 'fs')))) {
    return [`${name}: snapshots/${id}/fs is missing; what was changed there is lost, remove it`];
  }
  for (const part of ['work', 'merged'] as const) {
    if (sweep && !(await exists(home.part(id, part)))) mkdirSync(home.part(id, part));
  }
  return [];
}
