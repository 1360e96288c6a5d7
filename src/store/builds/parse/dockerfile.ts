/**
 * A Dockerfile as a list of instructions. dockerfile-ast finds the directives, where each instruction begins
 * and ends, and its here-documents; the text between is read here, as it loses what is needed of it: blanks
 * in JSON strings, comments inside a continued line, the last newline of a here-document, tabs of `<<-`.
 */
import { DockerfileParser } from 'dockerfile-ast';
import { UserError } from '../../../base/errno.js';

interface Heredoc {
  readonly name: string;
  readonly content: string;
  /** The name was not quoted: variables count. */
  readonly expands: boolean;
}

export interface Flag {
  readonly name: string;
  /** Undefined: the flag has no `=`. */
  readonly value: string | undefined;
}

export interface Instruction {
  /** In capitals. */
  readonly keyword: string;
  readonly flags: readonly Flag[];
  /** What follows keyword and flags, on one line. */
  readonly args: string;
  readonly heredocs: readonly Heredoc[];
  /** Where it stands: a file's name and a line. */
  readonly at: string;
}

export interface Dockerfile {
  readonly instructions: readonly Instruction[];
  /** `\` or `` ` ``. */
  readonly escape: string;
}

const KEYWORDS = [
  ...['ADD', 'ARG', 'CMD', 'COPY', 'ENTRYPOINT', 'ENV', 'EXPOSE', 'FROM', 'HEALTHCHECK', 'LABEL'],
  ...['MAINTAINER', 'ONBUILD', 'RUN', 'SHELL', 'STOPSIGNAL', 'USER', 'VOLUME', 'WORKDIR'],
];

/** Those whose lines may begin here-documents. */
const WITH_HEREDOCS = ['ADD', 'COPY', 'RUN', 'ONBUILD'];
const MAX_SIZE = 1 << 20;

/** A failure that says where in the Dockerfile it was. */
export class PlacedError extends UserError {}

/** An instruction that is wrong: the sentence, with file and line before it. */
export const wrongAt = (at: string, what: string, options?: ErrorOptions): UserError =>
  new PlacedError(`${at}: ${what}`, options);

/** Throws UserError for what is no Dockerfile. `name`: for messages. */
export function parseDockerfile(text: string, name: string): Dockerfile {
  if (text.length > MAX_SIZE) throw new UserError(`${name} has more than ${MAX_SIZE} characters`);
  if (text.includes('\0')) throw new UserError(`${name} is no text: it has a NUL`);
  const source = text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n');
  const tree = DockerfileParser.parse(source);
  const lines = source.split('\n');
  const escape = tree.getEscapeCharacter();
  const instructions = tree.getInstructions().map((each): Instruction => {
    const { start, end } = each.getRange();
    const at = `${name}:${start.line + 1}`;
    const keyword = each.getKeyword().toUpperCase();
    if (!KEYWORDS.includes(keyword)) throw wrongAt(at, `unknown instruction: ${keyword}`);
    const { line, next } = logicalLine(lines, start.line, escape);
    const [flags, args] = takeFlags(line.replace(/^\s*\S+\s*/, ''), escape);
    const takes = WITH_HEREDOCS.includes(keyword);
    const heredocs = takes ? heredocsOf(args, lines, next, at) : { found: [], end: next };
    // What dockerfile-ast took for a part of the instruction must be one: else two readings differ.
    if (heredocs.end < end.line && lines.slice(heredocs.end, end.line + 1).some(isText)) {
      throw wrongAt(at, `${keyword} has a here-document that does not end`);
    }
    return { keyword, flags, args: args.trim(), heredocs: heredocs.found, at };
  });
  return { instructions, escape };
}

const isComment = (line: string): boolean => /^\s*#/.test(line);
const isText = (line: string): boolean => line.trim() !== '' && !isComment(line);

/** Continued lines as one, without comments and empty lines between them. */
function logicalLine(
  lines: readonly string[],
  first: number,
  escape: string,
): { line: string; next: number } {
  const continued = escape === '`' ? /`[ \t]*$/ : /\\[ \t]*$/;
  let line = '';
  let next = first;
  for (let more = true; more && next < lines.length; next++) {
    const each = lines[next];
    if (next > first && !isText(each)) continue;
    more = continued.test(each);
    line += more ? each.replace(continued, '') : each;
  }
  return { line, next };
}

/** `--name[=value]` at the beginning; quotes keep blanks, the escape character the next one. */
function takeFlags(text: string, escape: string): [Flag[], string] {
  const flags: Flag[] = [];
  let rest = text;
  for (;;) {
    rest = rest.trimStart();
    if (!rest.startsWith('--')) return [flags, rest];
    const [word, end] = flagWord(rest, escape);
    rest = rest.slice(end);
    if (word === '--') return [flags, rest.trimStart()];
    const equals = word.indexOf('=');
    flags.push({
      name: equals < 0 ? word.slice(2) : word.slice(2, equals),
      value: equals < 0 ? undefined : word.slice(equals + 1),
    });
  }
}

function flagWord(text: string, escape: string): [word: string, end: number] {
  let word = '';
  let quote = '';
  let at = 0;
  for (; at < text.length; at++) {
    const c = text[at];
    if (quote === '' && /\s/.test(c)) break;
    if (c === escape && at + 1 < text.length) word += text[++at];
    else if (c === quote) quote = '';
    else if (quote === '' && (c === '"' || c === "'")) quote = c;
    else word += c;
  }
  return [word, at];
}

const HEREDOC = /(^|\s)\d*<<(-?)(?:"([^"<>\s]+)"|'([^'<>\s]+)'|([^"'<>\s]+))(?=\s|$|[;&|)<>])/g;

/** The here-documents that a line begins, from the lines after it. */
function heredocsOf(
  args: string,
  lines: readonly string[],
  first: number,
  at: string,
): { found: Heredoc[]; end: number } {
  const found: Heredoc[] = [];
  let next = first;
  for (const match of args.matchAll(HEREDOC)) {
    // The groups that do not match are undefined.
    const [, , dash, double, single, bare] = match as (string | undefined)[];
    const quoted = double ?? single;
    const name = quoted ?? bare ?? '';
    const strip = (line: string): string => (dash === '-' ? line.replace(/^\t+/, '') : line);
    const begin = next;
    while (next < lines.length && strip(lines[next]) !== name) next++;
    if (next === lines.length) throw wrongAt(at, `the here-document ${name} does not end`);
    const content = lines.slice(begin, next).map((line) => `${strip(line)}\n`);
    found.push({ name, content: content.join(''), expands: quoted === undefined });
    next++;
  }
  return { found, end: next };
}
