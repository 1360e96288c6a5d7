/** The stages of a Dockerfile, and what their FROM lines mean. */
import { UserError } from '../../base/errno.js';
import { parsePlatform, type Platform } from '../images/platform.js';
import { ownPlatform } from '../images/platform.js';
import { type Dockerfile, type Instruction, wrongAt } from './parse/dockerfile.js';
import { expand, splitWords, type Variables } from './parse/words.js';

export interface Stage {
  readonly index: number;
  /** `AS name`, in lower case. */
  readonly name: string | undefined;
  /** An image's name, `scratch`, or the name of a stage before. */
  readonly from: string;
  /** The stage before that `from` names. */
  readonly on: number | undefined;
  readonly platform: Platform | undefined;
  readonly instructions: readonly Instruction[];
  readonly at: string;
}

export interface Plan {
  readonly stages: readonly Stage[];
  /** ARGs before the first FROM. */
  readonly globals: Variables;
  readonly escape: string;
}

interface PlanOptions {
  readonly buildArgs: Variables;
  /** --platform. */
  readonly platform: Platform | undefined;
}

/** What every Dockerfile may ask for without a default (docs: "Automatic platform ARGs in the global scope"). */
export function platformArgs(target: Platform | undefined): Map<string, string> {
  const args = new Map<string, string>();
  const put = (prefix: string, { os, architecture, variant = '' }: Platform): void => {
    args.set(`${prefix}PLATFORM`, [os, architecture, variant].filter(Boolean).join('/'));
    args.set(`${prefix}OS`, os);
    args.set(`${prefix}ARCH`, architecture);
    args.set(`${prefix}VARIANT`, variant);
  };
  put('BUILD', ownPlatform());
  put('TARGET', target ?? ownPlatform());
  return args;
}

/** `NAME[=default]` words of an ARG: name and default. */
export function argWords(
  { args, at }: Instruction,
  escape: string,
): [string, string | undefined][] {
  const words = splitWords(args, escape);
  if (words.length === 0) throw wrongAt(at, 'ARG requires at least one argument');
  return words.map((word) => {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw wrongAt(at, `ARG: '${name}' is no name`);
    return [name, equals < 0 ? undefined : word.slice(equals + 1)];
  });
}

/** Throws UserError. */
export function planStages(file: Dockerfile, options: PlanOptions): Plan {
  const first = file.instructions.findIndex(({ keyword }) => keyword === 'FROM');
  const before = first < 0 ? file.instructions : file.instructions.slice(0, first);
  const stray = before.find(({ keyword }) => keyword !== 'ARG');
  if (stray) {
    throw wrongAt(stray.at, `${stray.keyword} stands before FROM: only ARG may`);
  }
  if (first < 0) throw new UserError('the Dockerfile has no FROM: there is nothing to build');
  const automatic = platformArgs(options.platform);
  const globals = new Map<string, string>();
  for (const each of before) {
    for (const [name, fallback] of argWords(each, file.escape)) {
      const known = new Map([...automatic, ...globals]);
      const value =
        options.buildArgs.get(name) ??
        (fallback === undefined ? automatic.get(name) : expand(fallback, known, file.escape));
      if (value !== undefined) globals.set(name, value);
    }
  }
  const stages: Stage[] = [];
  const variables = new Map([...automatic, ...globals]);
  for (let at = first; at < file.instructions.length; ) {
    let end = at + 1;
    while (end < file.instructions.length && file.instructions[end].keyword !== 'FROM') end++;
    const body = file.instructions.slice(at + 1, end);
    stages.push(stageOf(file.instructions[at], body, stages, variables, file.escape));
    at = end;
  }
  return { stages, globals, escape: file.escape };
}

const STAGE_NAME = /^[a-z][a-z0-9-_.]*$/;

function stageOf(
  from: Instruction,
  instructions: readonly Instruction[],
  before: readonly Stage[],
  variables: Variables,
  escape: string,
): Stage {
  const { at, args, flags } = from;
  const words = splitWords(args, escape);
  const [base, as, name, ...more] = words;
  if (words.length === 0) throw wrongAt(at, 'FROM requires an image');
  if (
    more.length > 0 ||
    (words.length !== 1 && (words.length !== 3 || as.toUpperCase() !== 'AS'))
  ) {
    throw wrongAt(at, 'FROM requires either one argument, or three: FROM IMAGE [AS NAME]');
  }
  let platform: Platform | undefined;
  for (const flag of flags) {
    if (flag.name !== 'platform' || flag.value === undefined) {
      throw wrongAt(at, `FROM has no flag --${flag.name}${flag.value === undefined ? '' : '=...'}`);
    }
    const text = expand(flag.value, variables, escape);
    if (text !== '') platform = parsePlatform(text);
  }
  const image = expand(base, variables, escape);
  if (image === '') throw wrongAt(at, `FROM: ${base} is empty: give the build argument`);
  const lower = words.length === 3 ? name.toLowerCase() : undefined;
  if (lower !== undefined && !STAGE_NAME.test(lower)) {
    throw wrongAt(at, `'${name}' is no name of a stage: letters, digits and -_., a letter first`);
  }
  return {
    index: before.length,
    name: lower,
    from: image,
    on: before.findLast((stage) => stage.name === image.toLowerCase())?.index,
    platform,
    instructions,
    at,
  };
}

/** The stage that `text` (a name, or a number) means among `stages`. */
export function findStage(stages: readonly Stage[], text: string): Stage | undefined {
  const named = stages.findLast(({ name }) => name === text.toLowerCase());
  return named ?? (/^\d+$/.test(text) ? stages[Number(text)] : undefined);
}
