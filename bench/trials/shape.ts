/** The shapes that most trials have: a tool run cold and warm, and one change. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { median } from '../statistics.js';
import type { Context, Driver, Group, Row, Trial } from '../types.js';

export const MS = 1e6;

/** GNU tar does not read files when the archive is /dev/null; /dev/zero swallows it as well. */
export const TAR_TO_NOWHERE = ['tar', '-cf', '/dev/zero'];

/** A tool that may fail with status 1 (grep that finds nothing). */
export const orOne = (command: string): readonly string[] => [
  'sh',
  '-c',
  `${command} || [ $? = 1 ]`,
];

/**
 * The median of the cold runs, one run to warm up, the median of a few warm ones. Only the first
 * cold run finds a server that knows nothing; the others are for work that the disk dominates.
 */
function coldAndWarm(
  context: Context,
  id: string,
  root: string,
  tool: readonly string[],
  { touch, coldRuns = 1, large = false }: Pick<Reading, 'touch' | 'coldRuns' | 'large'>,
): Record<string, number> {
  const cold: number[] = [];
  for (let run = 0; run < coldRuns; run++) {
    context.cold(touch);
    if (large) context.memory();
    cold.push(...context.client(root, 'exec', '1', ...tool));
  }
  context.client(root, 'exec', '1', ...tool);
  const warm = context.client(root, 'exec', context.quick ? '1' : '3', ...tool);
  return { [`${id}.cold`]: median(cold) / MS, [`${id}.warm`]: median(warm) / MS };
}

interface Reading {
  readonly name: string;
  readonly title: string;
  readonly group: Group;
  readonly short?: boolean;
  readonly programs?: readonly string[];
  /** The tree, unless it is the fixture. */
  readonly part?: string;
  /** Run in the tree's root; `root` is its path. */
  readonly tool: (root: string) => readonly string[];
  /** The tool on something else, so that its own start is warm in the cold run. */
  readonly touch: readonly string[];
  readonly coldRuns?: number;
  /** Reads so much that the state of the machine's free memory would decide: see Context.memory. */
  readonly large?: boolean;
}

/** A tool that reads: one row cold, one warm. */
export function reading(what: Reading): Trial {
  const { name, title, group, short = false, programs = [], part, tool } = what;
  const rows: Row[] = [
    { id: `${name}.cold`, title: `${title}, cold`, unit: 'ms' },
    { id: `${name}.warm`, title: `${title}, warm`, unit: 'ms' },
  ];
  return {
    name,
    group,
    rows,
    short,
    programs,
    ...(part !== undefined && { parts: [part] }),
    run: (context) => {
      const root = context.tree(part);
      return { values: coldAndWarm(context, name, root, tool(root), what) };
    },
  };
}

/** Times one command in `cwd`, in ms. */
export function once(context: Context, cwd: string, ...tool: readonly string[]): number {
  const [ns = NaN] = context.client(cwd, 'exec', '1', ...tool);
  return ns / MS;
}

/** A place for new names: in the mount, or the trial's own directory. */
export function target(context: Context): string {
  const root = context.driver.command ? context.tree() : context.directory;
  return join(root, `new-${process.pid}`);
}

/** A directory beside the mount, to warm tools up on. */
export function aside(context: Context, name: string): string {
  const directory = join(context.directory, name);
  mkdirSync(directory, { recursive: true });
  return directory;
}

/** A tree that may be changed, and that has been walked before: the change is measured, not the disk's first reads. */
export function walked(
  context: Context,
  name: string,
  tool: readonly string[],
  part?: string,
): string {
  const root = context.scratch(name, part);
  context.cold(tool);
  context.client(root, 'exec', '1', 'find', name, '-ls');
  return root;
}

export const nothingToMount = (driver: Driver) =>
  driver.command ? undefined : 'a plain directory is not mounted';

/** Why nobody's memory or requests can be counted. */
export const noServer = (driver: Driver) =>
  nothingToMount(driver) ??
  (driver.command?.[0] === 'mount' ? 'no server process: the kernel serves' : undefined);
