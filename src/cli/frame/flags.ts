/**
 * Flags as Docker's command line takes them (github.com/spf13/pflag): `--name value`, `--name=value`,
 * `-n value`, `-nvalue`, bundles of short ones, `--bool=false`, `--`. Arguments come as bytes (latin1).
 */
import { Buffer } from 'node:buffer';
import { inColumns } from './wrap.js';

export interface Flag {
  /** `string`s and `list`s are text; a `path` stays bytes (latin1); a `list` may be given many times. */
  readonly kind: 'bool' | 'string' | 'list' | 'int' | 'path' | 'paths';
  readonly short?: string;
  readonly help: string;
  /** What the help calls the value; the kind when absent. */
  readonly value?: string;
  /** A bool that is true unless it says `=false`. */
  readonly on?: boolean;
}

export interface Flags {
  readonly [name: string]: Flag;
}

type ValueOf<F extends Flag> = F['kind'] extends 'bool'
  ? boolean
  : F['kind'] extends 'list' | 'paths'
    ? readonly string[]
    : F['kind'] extends 'int'
      ? number | undefined
      : string | undefined;

export type Values<F extends Flags> = { readonly [K in keyof F]: ValueOf<F[K]> };

interface Parsed<F extends Flags> {
  readonly values: Values<F>;
  /** Names of the flags that were given. */
  readonly given: ReadonlySet<string>;
  /** Bytes (latin1). */
  readonly args: readonly string[];
}

/** A wrong flag: Docker's sentence, exit status 125. */
export class FlagError extends Error {
  override readonly name = 'FlagError';
}

/** The text of an argument: UTF-8. */
export function textOf(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

function convert(name: string, flag: Flag, value: string): boolean | number | string {
  const text = textOf(value);
  if (flag.kind === 'path' || flag.kind === 'paths') return value;
  if (flag.kind === 'bool') {
    if (TRUE.has(text)) return true;
    if (FALSE.has(text)) return false;
    throw new FlagError(`invalid argument "${text}" for "--${name}" flag: not true or false`);
  }
  if (flag.kind === 'int') {
    if (/^[-+]?\d{1,15}$/.test(text)) return Number(text);
    throw new FlagError(`invalid argument "${text}" for "--${name}" flag: not a whole number`);
  }
  return text;
}

class Parser {
  readonly #flags: Flags;
  readonly #shorts = new Map<string, string>();
  readonly values: Record<string, unknown> = {};
  readonly given = new Set<string>();
  readonly args: string[] = [];
  #rest: string[];

  constructor(flags: Flags, argv: readonly string[]) {
    this.#flags = flags;
    this.#rest = [...argv];
    for (const [name, flag] of Object.entries(flags)) {
      if (flag.short !== undefined) this.#shorts.set(flag.short, name);
      if (flag.kind === 'bool') this.values[name] = flag.on ?? false;
      if (flag.kind === 'list' || flag.kind === 'paths') this.values[name] = [];
    }
  }

  parse(interspersed: boolean): void {
    for (let arg = this.#rest.shift(); arg !== undefined; arg = this.#rest.shift()) {
      if (arg === '--') break;
      if (arg.startsWith('--')) this.#long(arg.slice(2));
      else if (arg.length > 1 && arg.startsWith('-')) this.#bundle(arg.slice(1));
      else {
        this.args.push(arg);
        if (!interspersed) break;
      }
    }
    this.args.push(...this.#rest);
  }

  #long(text: string): void {
    const [name, value] = split(text);
    const flag = Object.hasOwn(this.#flags, name) ? this.#flags[name] : undefined;
    if (!flag) throw new FlagError(`unknown flag: --${textOf(name)}`);
    if (value !== undefined) this.#set(name, flag, value);
    else if (flag.kind === 'bool') this.#set(name, flag, 'true');
    else this.#set(name, flag, this.#next(`--${name}`));
  }

  #bundle(text: string): void {
    for (let at = 0; at < text.length; at++) {
      const name = this.#shorts.get(text[at]);
      if (name === undefined) {
        throw new FlagError(`unknown shorthand flag: '${textOf(text[at])}' in -${textOf(text)}`);
      }
      const flag = this.#flags[name];
      const rest = text.slice(at + 1);
      if (rest.startsWith('=')) {
        this.#set(name, flag, rest.slice(1));
        return;
      }
      if (flag.kind !== 'bool') {
        this.#set(name, flag, rest === '' ? this.#next(`'${text[at]}' in -${text}`) : rest);
        return;
      }
      this.#set(name, flag, 'true');
    }
  }

  #next(what: string): string {
    const value = this.#rest.shift();
    if (value === undefined) throw new FlagError(`flag needs an argument: ${textOf(what)}`);
    return value;
  }

  #set(name: string, flag: Flag, value: string): void {
    const converted = convert(name, flag, value);
    const list = this.values[name];
    if (Array.isArray(list)) list.push(converted);
    else this.values[name] = converted;
    this.given.add(name);
  }
}

function split(text: string): [string, string | undefined] {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** Parses `argv`. `interspersed`: flags may also stand after the first argument. Throws FlagError. */
export function parseFlags<const F extends Flags>(
  flags: F,
  argv: readonly string[],
  interspersed = true,
): Parsed<F> {
  const parser = new Parser(flags, argv);
  parser.parse(interspersed);
  return { values: parser.values as Values<F>, given: parser.given, args: parser.args };
}

/** The widest column of flags; the help of a wider one begins on the next line. */
const WIDEST = 24;

/** The help's lines for a table of flags, as Docker prints them, in 80 columns. */
export function flagHelp(flags: Flags): string {
  const rows = Object.entries(flags)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, flag]) => [flagForm(name, flag), flag.help] as const);
  const width = Math.min(WIDEST, Math.max(0, ...rows.map(([left]) => left.length))) + 3;
  return rows.map(([left, help]) => inColumns(left, help, width)).join('');
}

function flagForm(name: string, flag: Flag): string {
  const short = flag.short === undefined ? '    ' : `-${flag.short}, `;
  const kind = flag.value ?? (flag.kind === 'paths' || flag.kind === 'path' ? 'path' : flag.kind);
  return `  ${short}--${name}${flag.kind === 'bool' ? '' : ` ${kind}`}`;
}
