/**
 * containerd's filter language (pkg/filters):
 *
 *     filter   := selector ("," selector)*          all must match
 *     selector := path (("==" | "!=" | "~=") value)?
 *     path     := field ("." field)*
 *     field    := word | "quoted"
 *     value    := word | "quoted" | /quoted/ | |quoted|     the last two only after ~=
 *
 * Without an operator a selector asks whether the field is there. `~=` is a regular expression.
 */
import { DriverError } from './snapshotter.js';
import { type Token, Scanner, unquote } from './filterScanner.js';

/** The value of a field, or undefined when the object has none. */
type Fields = (path: readonly string[]) => string | undefined;
type Filter = (fields: Fields) => boolean;

/** A filter for whatever matches one of `texts`; everything matches none at all. */
export function parseFilters(texts: readonly string[]): Filter {
  if (texts.length === 0) return () => true;
  const filters = texts.map(parseFilter);
  return (fields) => filters.some((filter) => filter(fields));
}

function parseFilter(text: string): Filter {
  if (text === '') return () => true;
  const scanner = new Scanner(text);
  const selectors = [parseSelector(scanner, text)];
  while (scanner.peek() !== '') {
    if (scanner.peek() !== ',') fail(text, `unexpected '${scanner.peek()}'`);
    scanner.scan();
    selectors.push(parseSelector(scanner, text));
  }
  return (fields) => selectors.every((selector) => selector(fields));
}

function parseSelector(scanner: Scanner, text: string): Filter {
  const path = [parseField(scanner.scan(), text)];
  while (scanner.peek() === '.') {
    scanner.scan();
    path.push(parseField(scanner.scan(), text));
  }
  if (scanner.peek() === ',' || scanner.peek() === '') {
    return (fields) => fields(path) !== undefined;
  }
  const operator = scanner.scan();
  const matches = operator.kind === 'operator' && operator.text === '~=';
  if (operator.kind !== 'operator' || !['==', '!=', '~='].includes(operator.text)) {
    fail(text, `'${operator.text}' is not one of ==, != and ~=`);
  }
  const value = parseValue(scanner.scan(), matches, text);
  if (matches) return matching(path, value);
  if (operator.text === '==') return (fields) => fields(path) === value;
  return (fields) => (fields(path) ?? '') !== value;
}

function parseField(token: Token, text: string): string {
  if (token.kind === 'field') return token.text;
  if (token.kind === 'quoted' && token.text.startsWith('"')) return unquote(token.text);
  return fail(text, token.wrong ?? `a field is expected, not '${token.text}'`);
}

function parseValue(token: Token, matches: boolean, text: string): string {
  if (token.kind === 'field' || token.kind === 'value') return token.text;
  if (token.kind === 'quoted' && (matches || token.text.startsWith('"'))) {
    return unquote(token.text);
  }
  return fail(text, token.wrong ?? `a value is expected, not '${token.text}'`);
}

/** Go's flags at the beginning of an expression, which JavaScript takes apart from it. */
const FLAGS = /^\(\?([ims]+)\)/;

function matching(path: readonly string[], source: string): Filter {
  const flags = FLAGS.exec(source);
  let expression: RegExp;
  try {
    expression = new RegExp(source.slice(flags?.[0].length ?? 0), `u${flags?.[1] ?? ''}`);
  } catch {
    // As containerd has it: an expression that cannot be compiled matches nothing.
    return () => false;
  }
  return (fields) => expression.test(fields(path) ?? '');
}

function fail(text: string, why: string): never {
  throw new DriverError('invalid-argument', `filter '${text}': ${why}`);
}
