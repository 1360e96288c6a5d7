/** COPY and ADD. */
import { mkdirSync, writeFileSync, utimesSync, chmodSync } from 'node:fs';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { resolveUser } from '../containers/users.js';
import { makeLayer } from '../layers/make.js';
import { treesOf } from '../layers/stack.js';
import { unpackArchive } from './addArchive.js';
import { download, isUrl } from './addUrl.js';
import { Below, type Place } from './below.js';
import { type CopyOptions, CopyPlan, type Owner } from './copyPlan.js';
import { type Flag, type Instruction } from './parse/dockerfile.js';
import { expandRaw, jsonList, splitWords } from './parse/words.js';
import { type Match, SourceTree } from './sourceTree.js';
import type { StageScope } from './scope.js';
import { absoluteIn, emptyDirectory } from './workdirStep.js';

interface CopyFlags {
  readonly from: string | undefined;
  readonly chown: string | undefined;
  readonly mode: number | undefined;
  readonly link: boolean;
  readonly checksum: string | undefined;
}

function octal(text: string): number {
  if (!/^[0-7]{1,5}$/.test(text))
    throw new UserError(`--chmod=${text} is no octal mode such as 755`);
  return Number.parseInt(text, 8) & 0o7777;
}

const truth = ({ name, value = 'true' }: Flag): boolean => {
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw new UserError(`--${name}=${value} is neither true nor false`);
};

function readFlags(run: StageScope, { keyword, flags }: Instruction): CopyFlags {
  const result = {
    from: undefined as string | undefined,
    chown: undefined as string | undefined,
    mode: undefined as number | undefined,
    link: false,
    checksum: undefined as string | undefined,
  };
  for (const flag of flags) {
    const value = run.expand(flag.value ?? '');
    if (flag.name === 'chown') result.chown = value;
    else if (flag.name === 'chmod') result.mode = octal(value);
    else if (flag.name === 'link') result.link = truth(flag);
    else if (flag.name === 'from' && keyword === 'COPY') result.from = value;
    else if (flag.name === 'checksum' && keyword === 'ADD') result.checksum = value;
    else throw new UserError(`${keyword} has no flag --${flag.name}`);
  }
  return result;
}

/** Sources and destination. */
function wordsOf(run: StageScope, { args, keyword, heredocs }: Instruction): [string[], string] {
  const list = jsonList(args) ?? splitWords(args, run.escape);
  const words = list
    .filter((word) => heredocs.length === 0 || !/^<</.test(word))
    .map((word) => run.expand(word));
  const dest = words.pop();
  if (dest === undefined || words.length + heredocs.length === 0) {
    throw new UserError(`${keyword} requires at least two arguments`);
  }
  return [words, dest];
}

/** A step in the making: what it reads, open until it has been packed. */
class Copy {
  readonly run: StageScope;
  readonly flags: CopyFlags;
  readonly #below: Below;
  readonly #dest: string;
  readonly #many: boolean;
  readonly plan: CopyPlan;
  readonly #trees: SourceTree[] = [];

  constructor(run: StageScope, flags: CopyFlags, dest: string, many: boolean) {
    this.run = run;
    this.flags = flags;
    this.#dest = dest;
    this.#many = many;
    // With --link nothing below is looked at: the layer fits on every other.
    this.#below = new Below(flags.link ? [] : run.trees);
    this.plan = new CopyPlan(this.#below, emptyDirectory(run.build));
  }

  close(): void {
    for (const tree of this.#trees) tree.close();
    this.#below.close();
  }

  open(path: string, what: string): SourceTree {
    const tree = new SourceTree(path, what);
    this.#trees.push(tree);
    return tree;
  }

  /** Numbers, or names of the image's passwd and group, looked up in it and nowhere else. */
  async owner(): Promise<Owner | undefined> {
    const { chown } = this.flags;
    if (chown === undefined || chown === '') return undefined;
    const [user, group = user] = chown.split(':');
    if (/^\d+$/.test(user) && /^\d+$/.test(group)) return { uid: Number(user), gid: Number(group) };
    const { build, trees } = this.run;
    const root = Buffer.from(await build.trees.shared(trees), 'latin1').toString('utf8');
    const found = resolveUser(root, chown);
    return { uid: found.uid, gid: found.gid };
  }

  /** Where a source of this name goes. */
  place({ name, isDirectory }: Pick<Match, 'name' | 'isDirectory'>): Place {
    const dest = toLatin1(absoluteIn(this.run, this.#dest));
    const isDir = /(^|\/)\.?$/.test(this.#dest) || this.#many;
    const found = this.#below.find(dest);
    if (isDirectory) return found;
    const into = isDir || found.parts.at(-1) !== undefined || found.names.length === 0;
    if (!into) return found;
    if (found.isFile) throw new UserError(`the destination ${this.#dest} is a file in the image`);
    return this.#below.find(`/${[...found.names, name].join('/')}`);
  }

  add(tree: SourceTree, match: Match, options: CopyOptions): void {
    this.plan.add(tree, match, this.place(match), options);
  }
}

/** Here-documents as files in a directory of the build. */
function writeHeredocs(run: StageScope, { heredocs }: Instruction): string {
  const directory = emptyDirectory(run.build);
  for (const { name, content, expands } of heredocs) {
    if (name.includes('/')) throw new UserError(`the here-document's name ${name} has a slash`);
    const text = expands ? expandRaw(content, run.variables, run.escape) : content;
    writeFileSync(bytes(`${directory}/${toLatin1(name)}`), text, { mode: 0o644 });
  }
  return directory;
}

export async function copyStep(run: StageScope, instruction: Instruction): Promise<void> {
  const { build } = run;
  const { keyword, args } = instruction;
  const flags = readFlags(run, instruction);
  const [sources, dest] = wordsOf(run, instruction);
  const many = sources.length + instruction.heredocs.length > 1;
  if (many && !dest.endsWith('/') && !/^\.?$/.test(dest)) {
    throw new UserError(
      `${keyword} of more than one source: the destination must be a directory and end with a /`,
    );
  }
  const copy = new Copy(run, flags, dest, many);
  try {
    const owner = await copy.owner();
    await addSources(copy, instruction, sources, owner);
    const what = [keyword, await copy.plan.digest()];
    const on = flags.link ? [] : run.layers;
    await run.step(
      `${keyword} ${args}`,
      what,
      () =>
        makeLayer(build.store, build.lease, on, (sink) => copy.plan.pack(sink, build.packOptions)),
      flags.link,
    );
    run.note(`${keyword} ${args}`, false);
  } finally {
    copy.close();
  }
}

async function addSources(
  copy: Copy,
  instruction: Instruction,
  sources: readonly string[],
  owner: Owner | undefined,
): Promise<void> {
  const { run, flags } = copy;
  const { build } = run;
  const root = owner ?? { uid: 0, gid: 0 };
  const { mode } = flags;
  if (instruction.heredocs.length > 0) {
    const tree = copy.open(writeHeredocs(run, instruction), 'the here-documents');
    for (const { name } of instruction.heredocs) {
      for (const match of tree.match(toLatin1(name))) copy.add(tree, match, { owner: root, mode });
    }
  }
  if (sources.length === 0) return;
  const urls = instruction.keyword === 'ADD' ? sources.filter(isUrl) : [];
  for (const url of urls) await addUrl(copy, url, root);
  const files = sources.filter((source) => !urls.includes(source));
  if (flags.checksum !== undefined && files.length > 0) {
    throw new UserError('--checksum is for a source that is a URL');
  }
  if (files.length === 0) return;
  const { from } = flags;
  const isContext = from === undefined;
  const tree = isContext
    ? build.contextTree()
    : copy.open(await treeOf(run, from), `--from=${from}`);
  await addFiles(copy, instruction, { tree, files, owner });
}

async function addFiles(
  copy: Copy,
  { keyword }: Instruction,
  { tree, files, owner }: { tree: SourceTree; files: readonly string[]; owner: Owner | undefined },
): Promise<void> {
  const { mode, from } = copy.flags;
  const { build } = copy.run;
  for (const source of files) {
    for (const match of tree.match(toLatin1(source))) {
      // What comes from another stage keeps its owner.
      const whose = from === undefined ? (owner ?? { uid: 0, gid: 0 }) : owner;
      const options = { owner: whose, mode };
      const unpacked =
        keyword === 'ADD' && !match.isDirectory
          ? await unpackArchive(build, tree, match)
          : undefined;
      if (unpacked === undefined) copy.add(tree, match, options);
      else {
        const inside = copy.open(unpacked, `the archive ${match.name}`);
        const whole = { path: '', name: match.name, isDirectory: true };
        copy.add(inside, whole, { owner, mode, follow: true });
      }
    }
  }
}

/** A directory that shows a stage or an image, read-only; latin1. */
async function treeOf({ build, index }: StageScope, from: string): Promise<string> {
  return build.trees.shared(treesOf(build.store, await build.layersOf(from, index)));
}

async function addUrl(copy: Copy, url: string, owner: Owner): Promise<void> {
  const { flags, run } = copy;
  const { name, data, modified } = await download(url, flags.checksum, run.build.options.signal);
  const directory = emptyDirectory(run.build);
  mkdirSync(bytes(`${directory}/d`));
  const path = bytes(`${directory}/d/${toLatin1(name)}`);
  writeFileSync(path, data);
  // As Docker: only the owner may read it, and it is as old as the server says.
  chmodSync(path, 0o600);
  utimesSync(path, modified, modified);
  const tree = copy.open(`${directory}/d`, url);
  for (const match of tree.match(toLatin1(name))) {
    copy.add(tree, match, { owner, mode: flags.mode });
  }
}
