/** What a template may call: Go's functions and Docker's (docker/cli templates/templates.go). */
import { UserError } from '../../base/errno.js';

/** Go's truth: not false, 0, nil, nor empty. */
export function isTrue(value: unknown): boolean {
  if (value === null || value === undefined) return false;
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object') return Object.keys(value).length > 0;
  return Boolean(value);
}

/** A value as Go's fmt prints it with %v. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`;
  if (typeof value === 'object') {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${fields.map(([key, each]) => `${key}:${show(each)}`).join(' ')}]`;
  }
  // eslint-disable-next-line @typescript-eslint/no-base-to-string -- no object is left here
  return String(value);
}

const fail = (what: string): never => {
  throw new UserError(`template parsing error: ${what}`);
};

const text = (value: unknown): string =>
  typeof value === 'string' ? value : fail(`${show(value)} is not a string`);

const number = (value: unknown): number =>
  typeof value === 'number' ? value : fail(`${show(value)} is not a number`);

function lengthOf(value: unknown): number {
  if (typeof value === 'string' || Array.isArray(value)) return value.length;
  if (value !== null && typeof value === 'object') return Object.keys(value).length;
  return value === null || value === undefined ? 0 : fail(`len of ${show(value)}`);
}

function index(value: unknown, keys: readonly unknown[]): unknown {
  return keys.reduce((at, key) => {
    if (Array.isArray(at)) {
      const i = number(key);
      return i >= 0 && i < at.length ? (at as unknown[])[i] : fail(`index out of range: ${i}`);
    }
    if (at === null || typeof at !== 'object') return fail(`index of ${show(at)}`);
    const name = text(key);
    return Object.hasOwn(at, name) ? (at as Record<string, unknown>)[name] : '';
  }, value);
}

function slice(value: unknown, from: unknown = 0, to?: unknown): unknown {
  const end = to === undefined ? undefined : number(to);
  if (typeof value === 'string' || Array.isArray(value)) return value.slice(number(from), end);
  return fail(`slice of ${show(value)}`);
}

/** `%[flags][width]verb` of Go's fmt, for what templates use. */
function printf(format: unknown, args: readonly unknown[]): string {
  let next = 0;
  return text(format).replace(/%(-?)(0?)(\d*)(?:\.(\d+))?([a-zA-Z%])/g, (all, ...parts) => {
    const [left, zero, width, precision, verb] = parts as (string | undefined)[];
    if (verb === '%') return '%';
    if (next >= args.length) return `%!${verb ?? ''}(MISSING)`;
    const shown = verbText(verb ?? '', args[next++], precision);
    if (shown === undefined) return all;
    const size = Number(width);
    return left === '-' ? shown.padEnd(size) : shown.padStart(size, zero === '0' ? '0' : ' ');
  });
}

function verbText(verb: string, value: unknown, precision?: string): string | undefined {
  switch (verb) {
    case 's':
    case 'v':
    case 't':
      return precision === undefined ? show(value) : show(value).slice(0, Number(precision));
    case 'd':
      return String(Math.trunc(number(value)));
    case 'q':
      return JSON.stringify(show(value));
    case 'x':
      return typeof value === 'number'
        ? value.toString(16)
        : Buffer.from(show(value), 'utf8').toString('hex');
    case 'f':
      return number(value).toFixed(precision === undefined ? 6 : Number(precision));
    default:
      return undefined;
  }
}

type Comparable = string | number | boolean;

function compare(a: unknown, b: unknown): number {
  if (typeof a !== typeof b || a === null || typeof a === 'object') {
    return fail(`incompatible types for comparison: ${show(a)} and ${show(b)}`);
  }
  const [x, y] = [a as Comparable, b as Comparable];
  return x < y ? -1 : x > y ? 1 : 0;
}

const title = (value: string): string => value.replace(/\b\p{Ll}/gu, (c) => c.toUpperCase());

type Function = (args: readonly unknown[]) => unknown;

export const FUNCTIONS: ReadonlyMap<string, Function> = new Map<string, Function>([
  ['json', ([value]) => JSON.stringify(value ?? null)],
  ['prettyjson', ([value]) => JSON.stringify(value ?? null, undefined, 4)],
  [
    'join',
    ([list, by]) => (Array.isArray(list) ? list.map(show).join(text(by)) : fail('join of no list')),
  ],
  ['split', ([value, by]) => text(value).split(text(by))],
  ['lower', ([value]) => text(value).toLowerCase()],
  ['upper', ([value]) => text(value).toUpperCase()],
  ['title', ([value]) => title(text(value))],
  [
    'pad',
    ([value, before, after]) => {
      const shown = text(value);
      return shown === '' ? '' : ' '.repeat(number(before)) + shown + ' '.repeat(number(after));
    },
  ],
  ['truncate', ([value, most]) => text(value).slice(0, number(most))],
  ['len', ([value]) => lengthOf(value)],
  ['index', ([value, ...keys]) => index(value, keys)],
  ['slice', ([value, from, to]) => slice(value, from, to)],
  ['print', (args) => args.map(show).join('')],
  ['println', (args) => `${args.map(show).join(' ')}\n`],
  ['printf', ([format, ...args]) => printf(format, args)],
  ['not', ([value]) => !isTrue(value)],
  ['and', (args) => args[args.findIndex((value) => !isTrue(value))] ?? args.at(-1)],
  ['or', (args) => args.find(isTrue) ?? args.at(-1)],
  ['eq', ([a, ...others]) => others.some((b) => compare(a, b) === 0)],
  ['ne', ([a, b]) => compare(a, b) !== 0],
  ['lt', ([a, b]) => compare(a, b) < 0],
  ['le', ([a, b]) => compare(a, b) <= 0],
  ['gt', ([a, b]) => compare(a, b) > 0],
  ['ge', ([a, b]) => compare(a, b) >= 0],
]);
