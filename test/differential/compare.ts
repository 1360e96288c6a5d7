/**
 * Runs the same operations on two drivers over identical copies of the layers, and says how they
 * differ: in the answers, in the merged trees afterwards, in what became of the lowers, and in what
 * each driver sees when it mounts the other's upper.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, Result } from '../support/client.js';
import {
  type Driver,
  type Features,
  featureOptions,
  type Stack,
  withMount,
} from '../support/mount.js';
import { makeDir } from '../support/place.js';
import { scratch } from '../support/run.js';
import {
  type Ignore,
  type Manifest,
  build,
  differences,
  manifest,
  manifestOf,
} from '../support/tree.js';
import { ACCEPTED, comparable, isKeptMtime, timeClass } from './accepted.js';
import type { Layers } from './layers.js';
import { type Operation, showOperation } from './operations.js';

export interface Pair {
  /** The driver under test. */
  readonly subject: Driver;
  readonly reference: Driver;
  readonly features: Features;
  /** Further options of the subject. */
  readonly options: readonly string[];
}

export interface Difference {
  readonly where: 'answer' | 'tree' | 'lowers' | 'swap';
  /** Of the operation, when it is an answer that differs. */
  readonly index?: number;
  readonly text: string;
}

/** When the run started, in seconds, and what is not compared in it. */
interface Terms {
  readonly started: number;
  readonly countLinks: boolean;
  /** Marks are user.* xattrs, and nobody may open a file by its handle. */
  readonly userMarks: boolean;
}

interface Side {
  readonly driver: Driver;
  readonly features: Features;
  readonly options: readonly string[];
  readonly stack: Stack;
  readonly mountpoint: string;
  readonly lowersBefore: readonly Manifest[];
}

/** What one driver answered, and the merged tree it showed at the end. */
interface Outcome {
  readonly answers: readonly string[];
  readonly tree: Manifest;
}

async function prepare(top: string, pair: Pair, driver: Driver, layers: Layers): Promise<Side> {
  const at = (name: string): string => makeDir(join(top, name));
  const lowers = layers.lowers.map((_, index) => at(`lower${index}`));
  const stack = { lowers, upper: at('upper'), work: at('work') };
  await Promise.all([
    ...layers.lowers.map((entries, index) => build(lowers[index] ?? '', entries)),
    build(stack.upper, layers.upper),
  ]);
  const lowersBefore = await Promise.all(lowers.map(manifestOf));
  // A level of its own around the mountpoint: links that lead one level up end there.
  const { features } = pair;
  const options = driver === pair.subject ? pair.options : [];
  return { driver, features, options, stack, mountpoint: at('around/mnt'), lowersBefore };
}

function shown(operation: Operation, result: Result, { countLinks, started }: Terms): string {
  return result.errno ?? `ok ${comparable(operation, result.words, countLinks, started)}`;
}

/** The tree with present times as one class. */
async function comparableTree(client: Client, driver: Driver, terms: Terms): Promise<Manifest> {
  const tree = await manifest(client, '.', true);
  const plain = new Map<string, ReadonlyMap<string, string>>();
  for (const [path, fields] of tree) {
    const copy = new Map(fields);
    // Kernel overlayfs lists another d_ino than st_ino for an upper directory that has no origin
    // yet (it writes one when it first looks the directory up). We must not, but for a hard link
    // that copy-up broke off: it is a new inode, and an earlier listing has the old number.
    if (driver !== 'stratafs' || !terms.countLinks) copy.delete('d_ino');
    // Without privilege kernel overlayfs cannot follow an origin: it shows a copied-up object's old
    // number under the name it was copied up by and its new one under a link made since, until it
    // forgets the object. Nor can we, once the kernel has forgotten one.
    if (terms.userMarks) for (const field of ['link', 'd_ino', 'ino']) copy.delete(field);
    if (!terms.countLinks) for (const field of ['nlink', 'link', 'ino']) copy.delete(field);
    if (timeClass(fields.get('mtime') ?? '', terms.started) === 'now') {
      copy.set('mtime', 'now');
      copy.delete('ns');
    }
    plain.set(path, copy);
  }
  return plain;
}

async function perform(
  side: Side,
  operations: readonly Operation[],
  terms: Terms,
): Promise<Outcome> {
  const body = async (client: Client): Promise<Outcome> => {
    const results = await Promise.all(
      operations.map(([name, ...words]) => client.call(name, ...words)),
    );
    await client.must('ident', 0, 0);
    const tree = await comparableTree(client, side.driver, terms);
    const answers = results.map((result, i) => shown(operations[i] ?? [''], result, terms));
    return { answers, tree };
  };
  const options = [...featureOptions(side.driver, side.features), ...side.options];
  return withMount(side.driver, side.stack, side.mountpoint, body, options);
}

/** Every answer that differs without leave; `diverged` when the trees need not agree any more. */
function compareAnswers(
  operations: readonly Operation[],
  subject: Outcome,
  reference: Outcome,
  features: Features,
): { found: Difference[]; diverged: boolean } {
  const found: Difference[] = [];
  for (const [index, operation] of operations.entries()) {
    const a = subject.answers[index] ?? '';
    const b = reference.answers[index] ?? '';
    if (a === b) continue;
    const accepted = ACCEPTED.find((rule) => rule.matches(operation, a, b, features));
    if (accepted?.diverges === true) return { found, diverged: true };
    if (accepted !== undefined) continue;
    const text = `${index}: ${showOperation(operation)}\n  subject:   ${a}\n  reference: ${b}`;
    found.push({ where: 'answer', index, text });
  }
  return { found, diverged: false };
}

async function lowersChanged(side: Side): Promise<Difference[]> {
  const after = await Promise.all(side.stack.lowers.map(manifestOf));
  return after.flatMap((tree, index) =>
    differences(side.lowersBefore[index] ?? new Map(), tree).map(
      (line): Difference => ({ where: 'lowers', text: `${side.driver}, lower ${index}: ${line}` }),
    ),
  );
}

/** `driver` mounts what `side` wrote and must see what `side` saw. */
async function swapped(
  driver: Driver,
  side: Side,
  seen: Manifest,
  terms: Terms,
): Promise<Difference[]> {
  const tree = await withMount(
    driver,
    side.stack,
    side.mountpoint,
    (client) => comparableTree(client, driver, terms),
    featureOptions(driver, side.features),
  );
  return differences(seen, tree).map((line): Difference => {
    return {
      where: 'swap',
      text: `${side.driver} wrote (left), ${driver} mounted (right): ${line}`,
    };
  });
}

async function compareSides(
  subject: Side,
  reference: Side,
  operations: readonly Operation[],
  countLinks: boolean,
): Promise<Difference[]> {
  const userMarks = subject.features === 'user';
  const terms = { started: Math.floor(Date.now() / 1000) - 1, countLinks, userMarks };
  const mine = await perform(subject, operations, terms);
  const theirs = await perform(reference, operations, terms);
  const { found, diverged } = compareAnswers(operations, mine, theirs, subject.features);
  const kept = subject.features === 'full' ? isKeptMtime(mine.tree, theirs.tree) : undefined;
  // Inode numbers are compared where both drivers show the same upper.
  const ignore: Ignore = (path, field) => field === 'ino' || (kept?.(path, field) ?? false);
  if (!diverged)
    for (const text of differences(mine.tree, theirs.tree, ignore))
      found.push({ where: 'tree', text });
  found.push(...(await lowersChanged(subject)), ...(await lowersChanged(reference)));
  found.push(...(await swapped(reference.driver, subject, mine.tree, terms)));
  found.push(...(await swapped(subject.driver, reference, theirs.tree, terms)));
  return found;
}

/** Empty when the two drivers did the same. */
export async function compare(
  pair: Pair,
  layers: Layers,
  operations: readonly Operation[],
): Promise<Difference[]> {
  const top = scratch('differential');
  const subject = await prepare(join(top, 'subject'), pair, pair.subject, layers);
  const reference = await prepare(join(top, 'reference'), pair, pair.reference, layers);
  const found = await compareSides(subject, reference, operations, layers.countLinks);
  // Not after an error: what is left then goes with the run's directory, and shows why.
  rmSync(top, { recursive: true, force: true });
  return found;
}
