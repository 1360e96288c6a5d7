/**
 * Runs the same operations on two drivers over identical copies of the layers, and says how they
 * differ: in the answers, in the merged trees afterwards, in what became of the lowers, and in what
 * each driver sees when it mounts the other's upper.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, Result, Word } from '../support/client.js';
import {
  type Driver,
  type Features,
  featureOptions,
  type Mounted,
  mountStack,
  type Stack,
  withMount,
} from '../support/mount.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../src/base/mode.js';
import { makeDir } from '../support/place.js';
import { scratch } from '../support/run.js';
import {
  type Entry,
  type Ignore,
  type Manifest,
  build,
  differences,
  manifest,
  manifestOf,
} from '../support/tree.js';
import {
  ACCEPTED,
  type Context,
  comparable,
  isKeptMtime,
  isLost,
  isShownBare,
  timeClass,
} from './accepted.js';
import { Foreign, type ForeignKind } from './foreign.js';
import type { Layers } from './layers.js';
import { commandOf, OTHER, type Operation, showOperation } from './operations.js';

export interface Pair {
  /** The driver under test. */
  readonly subject: Driver;
  readonly reference: Driver;
  readonly features: Features;
  /** Further options of the subject. */
  readonly options: readonly string[];
  /** The subject's layers, upper and workdir lie in a mount of stratafs with these options. */
  readonly inside?: readonly string[];
  /** Upper and workdir lie on a file system in user space that has few of the calls that overlayfs needs. */
  readonly foreign?: ForeignKind;
}

export interface Difference {
  /** `error`: a mount that hung, died or could not be made. */
  readonly where: 'answer' | 'tree' | 'lowers' | 'swap' | 'error';
  /** Of the operation, when it is an answer that differs. */
  readonly index?: number;
  readonly text: string;
}

/** When the run started, in seconds, and what is not compared in it. */
interface Terms {
  readonly started: number;
  readonly countLinks: boolean;
  readonly features: Features;
  /** Inode numbers, too: an overlay on FUSE has no file handles, so it cannot keep them. */
  readonly numbers: boolean;
  /**
   * Set-ID bits of files, too. With its upper on FUSE kernel overlayfs loses them when it copies a file
   * up: it changes the owner last, and FUSE has the server take them away with every such change.
   */
  readonly setIds: boolean;
  /** As in `Layers`. */
  readonly lost: readonly string[];
}

interface Side {
  readonly driver: Driver;
  readonly features: Features;
  readonly options: readonly string[];
  readonly stack: Stack;
  readonly mountpoint: string;
  readonly lowersBefore: readonly Manifest[];
}

/** What one driver answered, and the merged tree it showed at the end: exact times. */
interface Outcome {
  readonly answers: readonly string[];
  readonly tree: Manifest;
}

/** The entry as a layer has it whose marks are in the user namespace. */
function inUserNamespace(entry: Entry): Entry {
  const xattrs = Object.entries(entry.xattrs ?? {}).map(
    ([name, value]) => [name.replace(/^trusted\.overlay\./, 'user.overlay.'), value] as const,
  );
  return xattrs.length === 0 ? entry : { ...entry, xattrs: Object.fromEntries(xattrs) };
}

/** `lowersAt`: where the lowers lie, when not beside the upper. */
async function prepare(
  top: string,
  pair: Pair,
  driver: Driver,
  layers: Layers,
  lowersAt = top,
): Promise<Side> {
  const { features } = pair;
  const at = (name: string): string => makeDir(join(top, name));
  const lowers = layers.lowers.map((_, index) => makeDir(join(lowersAt, `lower${index}`)));
  const stack = { lowers, upper: at('upper'), work: at('work') };
  const marked = (entries: readonly Entry[]): readonly Entry[] =>
    features === 'userxattr' ? entries.map(inUserNamespace) : entries;
  await Promise.all([
    ...layers.lowers.map((entries, index) => build(lowers[index] ?? '', marked(entries))),
    build(stack.upper, marked(layers.upper)),
  ]);
  const lowersBefore = await Promise.all(lowers.map(manifestOf));
  // A level of its own around the mountpoint: links that lead one level up end there.
  const options = driver === pair.subject ? pair.options : [];
  return {
    driver,
    features,
    options,
    stack,
    mountpoint: makeDir(join(lowersAt, 'around/mnt')),
    lowersBefore,
  };
}

function shown(operation: Operation, result: Result, terms: Terms): string {
  if (result.errno !== undefined) return result.errno;
  const { countLinks, started } = terms;
  const stats = ['lstat', 'stat', 'fstat'].includes(operation[0]);
  const words = stats ? result.words.with(0, modeOf(result.words[0] ?? '', terms)) : result.words;
  return `ok ${comparable(operation, words, countLinks, started)}`;
}

/** A mode, in octal, as far as it is compared. */
function modeOf(mode: string, { setIds }: Terms): string {
  const bits = parseInt(mode, 8);
  return setIds || (bits & S_IFMT) !== S_IFREG ? mode : (bits & ~0o6000).toString(8);
}

function hasUserXattrs(fields: ReadonlyMap<string, string>): boolean {
  const type = parseInt(fields.get('mode') ?? '', 8) & S_IFMT;
  return type === S_IFREG || type === S_IFDIR;
}

/** The tree, as whoever mounts this upper must see it. */
async function comparableTree(client: Client, driver: Driver, terms: Terms): Promise<Manifest> {
  const tree = await manifest(client, '.', true);
  const plain = new Map<string, ReadonlyMap<string, string>>();
  for (const [path, fields] of tree) {
    if (isLost(terms.lost, path)) continue;
    const copy = new Map(fields);
    // Kernel overlayfs lists another d_ino than st_ino for an upper directory that has no origin
    // yet (it writes one when it first looks the directory up). We must not, but for a hard link
    // that copy-up broke off: it is a new inode, and an earlier listing has the old number.
    if (driver !== 'stratafs' || !terms.countLinks) copy.delete('d_ino');
    // Without privilege kernel overlayfs cannot follow an origin: it shows a copied-up object's old
    // number under the name it was copied up by and its new one under a link made since, until it
    // forgets the object. Nor can we, once the kernel has forgotten one.
    // Nor has anything an origin that can have no user.* xattr, whoever mounts it.
    if (terms.features === 'user' || (terms.features === 'userxattr' && !hasUserXattrs(fields)))
      for (const field of ['link', 'd_ino', 'ino']) copy.delete(field);
    copy.set('mode', modeOf(fields.get('mode') ?? '', terms));
    if (!terms.numbers) for (const field of ['link', 'd_ino', 'ino']) copy.delete(field);
    if (!terms.countLinks) for (const field of ['nlink', 'link', 'ino']) copy.delete(field);
    plain.set(path, copy);
  }
  return plain;
}

/** The tree with present times as one class: two drivers do not write at the same time. */
function anyPresent(tree: Manifest, { started }: Terms): Manifest {
  return new Map(
    [...tree].map(([path, fields]) => {
      if (timeClass(fields.get('mtime') ?? '', started) !== 'now') return [path, fields];
      const copy = new Map([...fields, ['mtime', 'now']]);
      copy.delete('ns');
      return [path, copy];
    }),
  );
}

/** Two clients, whose operations happen in the order of the list. */
async function inOrder(
  mounted: Mounted,
  first: Client,
  operations: readonly Operation[],
): Promise<Result[]> {
  const others = operations.some(([name]) => name === OTHER);
  const second = others ? await mounted.client() : first;
  const results: Promise<Result>[] = [];
  for (const [index, operation] of operations.entries()) {
    const other = operation[0] === OTHER;
    // One client does what it is told in order by itself; a change of hands waits for its turn.
    if (index > 0 && other !== (operations[index - 1]?.[0] === OTHER)) await results.at(-1);
    const [name, ...words]: readonly [string, ...Word[]] = commandOf(operation);
    results.push((other ? second : first).call(name, ...words));
  }
  return Promise.all(results);
}

async function perform(
  side: Side,
  operations: readonly Operation[],
  terms: Terms,
): Promise<Outcome> {
  const body = async (client: Client, mounted: Mounted): Promise<Outcome> => {
    const results = await inOrder(mounted, client, operations);
    await client.must('ident', 0, 0);
    const tree = await comparableTree(client, side.driver, terms);
    const answers = results.map((result, i) =>
      shown(commandOf(operations[i] ?? ['']), result, terms),
    );
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
  { features, lost }: Terms,
): { found: Difference[]; diverged: boolean; context: Context } {
  const found: Difference[] = [];
  let context: Context = { features, refusedRename: false, lost };
  for (const [index, operation] of operations.entries()) {
    const a = subject.answers[index] ?? '';
    const b = reference.answers[index] ?? '';
    const command = commandOf(operation);
    if (command[0] === 'rename' && b === 'ENOTEMPTY') context = { ...context, refusedRename: true };
    if (a === b) continue;
    const accepted = ACCEPTED.find((rule) => rule.matches(command, a, b, context));
    if (accepted?.diverges === true) return { found, diverged: true, context };
    if (accepted !== undefined) continue;
    const text = `${index}: ${showOperation(operation)}\n  subject:   ${a}\n  reference: ${b}`;
    found.push({ where: 'answer', index, text });
  }
  return { found, diverged: false, context };
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
  return differences(seen, tree, isShownBare(seen)).map((line): Difference => {
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
  { countLinks, lost = [] }: Layers,
  outer: Outer | Foreign | undefined,
): Promise<Difference[]> {
  const nested = outer !== undefined;
  const { features } = subject;
  const started = Math.floor(Date.now() / 1000) - 1;
  const setIds = !nested || subject.driver !== 'kernel';
  const terms = { started, countLinks, features, numbers: !nested, setIds, lost };
  const mine = await perform(subject, operations, terms);
  const theirs = await perform(reference, operations, terms);
  const { found, diverged, context } = compareAnswers(operations, mine, theirs, terms);
  const [left, right] = [anyPresent(mine.tree, terms), anyPresent(theirs.tree, terms)];
  const kept = isKeptMtime(left, right, context);
  // Inode numbers are compared where both drivers show the same upper.
  const ignore: Ignore = (path, field) => field === 'ino' || kept(path, field);
  if (!diverged)
    for (const text of differences(left, right, ignore)) found.push({ where: 'tree', text });
  found.push(...(await lowersChanged(subject)), ...(await lowersChanged(reference)));
  found.push(...(await swapped(reference.driver, await bare(subject, outer), mine.tree, terms)));
  found.push(...(await swapped(subject.driver, reference, theirs.tree, terms)));
  return found;
}

/** The side's directories as kernel overlayfs can have them: not on a file system in user space. */
async function bare(side: Side, outer: Outer | Foreign | undefined): Promise<Side> {
  if (!(outer instanceof Foreign)) return side;
  const below = await outer.below();
  const moved = (path: string): string => path.replace(outer.mountpoint, below);
  const { lowers, upper = '', work = '' } = side.stack;
  return {
    ...side,
    stack: { lowers: lowers.map(moved), upper: moved(upper), work: moved(work) },
    mountpoint: moved(side.mountpoint),
  };
}

/** A mount of stratafs that another union has its directories in. */
class Outer {
  readonly mountpoint: string;
  readonly #stack: Stack;
  readonly #options: readonly string[];
  #mounted: Mounted | undefined;

  private constructor(top: string, options: readonly string[]) {
    const at = (name: string): string => makeDir(join(top, name));
    this.#stack = { lowers: [at('lower')], upper: at('upper'), work: at('work') };
    this.#options = options;
    this.mountpoint = at('mnt');
  }

  static async mount(top: string, options: readonly string[]): Promise<Outer> {
    const outer = new Outer(top, options);
    await outer.#mount();
    return outer;
  }

  async #mount(): Promise<void> {
    this.#mounted = await mountStack('stratafs', this.#stack, this.mountpoint, this.#options);
  }

  async unmount(): Promise<void> {
    const mounted = this.#mounted;
    this.#mounted = undefined;
    await mounted?.unmount();
  }

  /** What it shows after the next mount, whiteouts of the union in it too, is what it showed. */
  async comesBack(): Promise<Difference[]> {
    const before = await manifestOf(this.mountpoint);
    await this.unmount();
    await this.#mount();
    const changed = differences(before, await manifestOf(this.mountpoint));
    return changed.map((text): Difference => ({ where: 'swap', text: `outer mount: ${text}` }));
  }
}

async function around(pair: Pair, top: string): Promise<Outer | Foreign | undefined> {
  if (pair.foreign) return Foreign.mount(top, pair.foreign);
  return pair.inside && Outer.mount(top, pair.inside);
}

/** Empty when the two drivers did the same. */
export async function compare(
  pair: Pair,
  layers: Layers,
  operations: readonly Operation[],
): Promise<Difference[]> {
  const top = scratch('differential');
  const outer = await around(pair, join(top, 'outer'));
  let found: Difference[];
  try {
    const at = outer?.mountpoint ?? top;
    const lowersAt = pair.foreign && join(top, 'lowers');
    const subject = await prepare(join(at, 'subject'), pair, pair.subject, layers, lowersAt);
    const reference = await prepare(join(top, 'reference'), pair, pair.reference, layers);
    found = await compareSides(subject, reference, operations, layers, outer);
    if (outer) found.push(...(await outer.comesBack()));
  } finally {
    await outer?.unmount();
  }
  // Not after an error: what is left then goes with the run's directory, and shows why.
  rmSync(top, { recursive: true, force: true });
  return found;
}
