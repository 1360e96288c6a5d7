/**
 * Words of an instruction: quotes, escapes and variables as in Docker's own little shell
 * (docs.docker.com/reference/dockerfile, "Environment replacement"; buildkit frontend/dockerfile/shell/lex.go).
 */
import { UserError } from '../../../base/errno.js';

export type Variables = ReadonlyMap<string, string>;

/** `["a", "b c"]`, or undefined when it is no JSON list of strings. */
export function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    const ok = Array.isArray(value) && value.every((each) => typeof each === 'string');
    return ok ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A text with its variables in place, quotes and escapes gone. Throws UserError. */
export const expand = (text: string, variables: Variables, escape: string): string =>
  new Lexer(text, variables, escape).word('');

/** The same text with its variables in place alone: of here-documents. */
export const expandRaw = (text: string, variables: Variables, escape: string): string =>
  new Lexer(text, variables, escape, true).word('');

/** Words between blanks; quotes keep blanks and stay where they are. */
export function splitWords(text: string, escape: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (quote === '' && /\s/.test(c)) {
      if (word !== '') words.push(word);
      word = '';
      continue;
    }
    word += c;
    if (c === escape && quote !== "'" && at + 1 < text.length) word += text[++at];
    else if (c === quote) quote = '';
    else if (quote === '' && (c === '"' || c === "'")) quote = c;
  }
  if (quote !== '') throw new UserError(`a quote is not closed: ${text}`);
  if (word !== '') words.push(word);
  return words;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
const SPECIAL = /^[0-9@*#]/;

class Lexer {
  readonly #text: string;
  readonly #variables: Variables;
  readonly #escape: string;
  /** Quotes are characters like any. */
  readonly #raw: boolean;
  #at = 0;

  constructor(text: string, variables: Variables, escape: string, raw = false) {
    this.#text = text;
    this.#variables = variables;
    this.#escape = escape;
    this.#raw = raw;
  }

  /** Up to `end` ('' for the end of the text), which is left. */
  word(end: string): string {
    let out = '';
    while (this.#at < this.#text.length) {
      const c = this.#text[this.#at];
      if (c === end) return out;
      if (c === '$') out += this.#dollar();
      else if (c === this.#escape) out += this.#escaped();
      else if (!this.#raw && c === "'") out += this.#single();
      else if (!this.#raw && c === '"') out += this.#double();
      else {
        out += c;
        this.#at++;
      }
    }
    if (end !== '') throw this.#wrong(`${end} is missing`);
    return out;
  }

  #escaped(): string {
    const next = this.#text.at(this.#at + 1);
    this.#at += 2;
    if (next === undefined) return this.#escape;
    if (!this.#raw) return next;
    return next === '$' || next === this.#escape ? next : this.#escape + next;
  }

  #single(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    if (end < 0) throw this.#wrong("a ' is not closed");
    const inside = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return inside;
  }

  #double(): string {
    let out = '';
    this.#at++;
    while (this.#at < this.#text.length) {
      const c = this.#text[this.#at];
      if (c === '"') {
        this.#at++;
        return out;
      }
      if (c === '$') out += this.#dollar();
      else if (c === this.#escape) {
        const next = this.#text[this.#at + 1] ?? '';
        out += ['"', '$', this.#escape].includes(next) ? next : c + next;
        this.#at += 2;
      } else {
        out += c;
        this.#at++;
      }
    }
    throw this.#wrong('a " is not closed');
  }

  #dollar(): string {
    this.#at++;
    if (this.#text[this.#at] === '{') return this.#braces();
    const name = this.#name();
    return name === '' ? '$' : (this.#variables.get(name) ?? '');
  }

  #name(): string {
    const rest = this.#text.slice(this.#at);
    const name = (NAME.exec(rest) ?? SPECIAL.exec(rest))?.[0] ?? '';
    this.#at += name.length;
    return name;
  }

  #braces(): string {
    this.#at++;
    const name = this.#name();
    if (name === '') throw this.#wrong('the name of a variable is missing');
    const value = this.#variables.get(name);
    const c = this.#text.at(this.#at);
    if (c === '}') {
      this.#at++;
      return value ?? '';
    }
    if (c === undefined) throw this.#wrong('} is missing');
    if (c === ':' || '+-?'.includes(c)) return this.#choice(name, value);
    if (c === '#' || c === '%') return this.#cut(value ?? '', c);
    if (c === '/') return this.#replaced(value ?? '');
    throw this.#wrong(`\${${name}${c} is no form of a variable that is known`);
  }

  /** `:-word`, `-word`, `:+word`, `+word`, `:?word`, `?word`. */
  #choice(name: string, value: string | undefined): string {
    const colon = this.#text[this.#at] === ':';
    if (colon) this.#at++;
    const operator = this.#text[this.#at++];
    const word = this.#until('}');
    const isSet = value !== undefined && !(colon && value === '');
    if (operator === '-') return isSet ? value : word;
    if (operator === '+') return isSet ? word : '';
    if (operator === '?') {
      if (isSet) return value;
      throw new UserError(`${name}: ${word === '' ? 'parameter is not set or empty' : word}`);
    }
    throw this.#wrong(`\${${name}:${operator} is no form of a variable that is known`);
  }

  /** `#pattern`, `##pattern`, `%pattern`, `%%pattern`. */
  #cut(value: string, side: string): string {
    this.#at++;
    const longest = this.#text[this.#at] === side;
    if (longest) this.#at++;
    const pattern = this.#until('}');
    const lengths = Array.from({ length: value.length + 1 }, (_, i) => i);
    const whole = new RegExp(`^(?:${globSource(pattern, true)})$`, 's');
    const part = (n: number): string =>
      side === '#' ? value.slice(0, n) : value.slice(value.length - n);
    const found = (longest ? lengths.reverse() : lengths).find((n) => whole.test(part(n)));
    if (found === undefined) return value;
    return side === '#' ? value.slice(found) : value.slice(0, value.length - found);
  }

  /** `/pattern/word` and `//pattern/word`. */
  #replaced(value: string): string {
    this.#at++;
    const all = this.#text[this.#at] === '/';
    if (all) this.#at++;
    const pattern = this.#until('/');
    const word = this.#until('}');
    if (pattern === '') return value;
    return value.replace(new RegExp(globSource(pattern, true), all ? 'gs' : 's'), () => word);
  }

  #until(end: string): string {
    const out = this.word(end);
    this.#at++;
    return out;
  }

  #wrong(what: string): UserError {
    return new UserError(`${what}: ${this.#text}`);
  }
}

/** A shell's pattern as a regular expression's source. `slashes`: `*` and `?` match them, too. */
export function globSource(pattern: string, slashes: boolean): string {
  const any = slashes ? '.' : '[^/]';
  let out = '';
  for (let at = 0; at < pattern.length; at++) {
    const c = pattern[at];
    if (c === '*') out += `${any}*`;
    else if (c === '?') out += any;
    else if (c === '\\' && at + 1 < pattern.length) out += literal(pattern[++at]);
    else if (c === '[') {
      const end = pattern.indexOf(']', at + 2);
      if (end < 0) throw new UserError(`the pattern ${pattern} has a [ without its ]`);
      const inside = pattern
        .slice(at + 1, end)
        .replaceAll('\\', '\\\\')
        .replaceAll('[', '\\[');
      out += inside.startsWith('!') ? `[^${inside.slice(1)}]` : `[${inside}]`;
      at = end;
    } else out += literal(c);
  }
  return out;
}

const literal = (c: string): string => c.replace(/[\\^$.*+?()[\]{}|/-]/, '\\$&');
