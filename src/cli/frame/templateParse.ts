/** The structure of a template: text/template's grammar (golang.org/pkg/text/template). */
import { UserError } from '../../base/errno.js';

export type Expression =
  | { readonly kind: 'literal'; readonly value: unknown }
  | { readonly kind: 'dot'; readonly fields: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string; readonly fields: readonly string[] }
  | { readonly kind: 'pipeline'; readonly pipeline: Pipeline; readonly fields: readonly string[] }
  | { readonly kind: 'function'; readonly name: string };

export interface Pipeline {
  /** `$x := …` (declares) or `$x = …`. */
  readonly variable: string | undefined;
  readonly declares: boolean;
  readonly commands: readonly (readonly Expression[])[];
}

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'output'; readonly pipeline: Pipeline; readonly source: string }
  | {
      readonly kind: 'if' | 'with';
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | {
      readonly kind: 'range';
      readonly names: readonly string[];
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    };

const fail = (what: string): never => {
  throw new UserError(`template parsing error: ${what}`);
};

const TOKEN =
  /\s*(?:("(?:[^"\\]|\\.)*"|`[^`]*`)|(\$\w*(?:\.\w+)*)|((?:\.\w+)+|\.)|([-+]?\d+(?:\.\d+)?)|(:=|=|\||\(|\)|,)|([A-Za-z_]\w*))/y;

interface Token {
  readonly kind: 'string' | 'variable' | 'field' | 'number' | 'sign' | 'word';
  readonly text: string;
}

const TOKEN_KINDS = ['string', 'variable', 'field', 'number', 'sign', 'word'] as const;

function tokens(source: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  const end = source.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(source);
    if (!match)
      return fail(`unexpected ${JSON.stringify(source.slice(at).trim())} in {{${source}}}`);
    const groups = match.slice(1) as (string | undefined)[];
    const kind = groups.findIndex((text) => text !== undefined);
    found.push({ kind: TOKEN_KINDS[kind], text: groups[kind]! });
  }
  return found;
}

class ActionParser {
  readonly #source: string;
  readonly #tokens: Token[];
  #at = 0;

  constructor(source: string) {
    this.#source = source;
    this.#tokens = tokens(source);
  }

  word(): string {
    const token = this.#tokens.at(this.#at);
    return token?.kind === 'word' ? token.text : '';
  }

  skip(): void {
    this.#at++;
  }

  get done(): boolean {
    return this.#at >= this.#tokens.length;
  }

  #is(sign: string, ahead = 0): boolean {
    const token = this.#tokens.at(this.#at + ahead);
    return this.#at + ahead < this.#tokens.length && token?.kind === 'sign' && token.text === sign;
  }

  /** `$k, $v :=` or `$v :=` before a range's pipeline. */
  names(): string[] {
    const texts = this.#tokens.slice(this.#at, this.#at + 4).map(({ text }) => text);
    if (texts[1] === ':=') return this.#take([texts[0]], 2);
    if (texts[1] === ',' && texts[3] === ':=') return this.#take([texts[0], texts[2]], 4);
    return [];
  }

  #take(names: string[], count: number): string[] {
    this.#at += count;
    return names;
  }

  pipeline(): Pipeline {
    let variable: string | undefined;
    let declares = false;
    if (this.#tokens.at(this.#at)?.kind === 'variable' && (this.#is(':=', 1) || this.#is('=', 1))) {
      variable = this.#tokens[this.#at].text;
      declares = this.#is(':=', 1);
      this.#at += 2;
    }
    const commands = [this.#command()];
    while (this.#is('|')) {
      this.#at++;
      commands.push(this.#command());
    }
    return { variable, declares, commands };
  }

  #command(): Expression[] {
    const operands: Expression[] = [];
    while (!this.done && !this.#is('|') && !this.#is(')')) operands.push(this.#operand());
    if (operands.length === 0) fail(`missing value in {{${this.#source}}}`);
    return operands;
  }

  #operand(): Expression {
    const { kind, text } = this.#tokens[this.#at++];
    switch (kind) {
      case 'string':
        return { kind: 'literal', value: unquote(text) };
      case 'number':
        return { kind: 'literal', value: Number(text) };
      case 'field':
        return { kind: 'dot', fields: text === '.' ? [] : text.slice(1).split('.') };
      case 'variable': {
        const [name, ...fields] = text.split('.');
        return { kind: 'variable', name, fields };
      }
      case 'word':
        if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
        if (text === 'nil') return { kind: 'literal', value: null };
        return { kind: 'function', name: text };
      case 'sign':
        return text === '('
          ? this.#parenthesis()
          : fail(`unexpected ${text} in {{${this.#source}}}`);
    }
  }

  #parenthesis(): Expression {
    const pipeline = this.pipeline();
    if (!this.#is(')')) fail(`unclosed left paren in {{${this.#source}}}`);
    this.#at++;
    const next = this.#tokens.at(this.#at);
    const follows = this.#at < this.#tokens.length && next?.kind === 'field' && next.text !== '.';
    if (follows) this.#at++;
    return { kind: 'pipeline', pipeline, fields: follows ? next.text.slice(1).split('.') : [] };
  }
}

function unquote(text: string): string {
  if (text.startsWith('`')) return text.slice(1, -1);
  try {
    return JSON.parse(text) as string;
  } catch {
    return fail(`bad string ${text}`);
  }
}

interface Piece {
  readonly text?: string;
  readonly action?: string;
}

/** Text and actions; `{{-` and `-}}` take the blanks beside them, comments vanish. */
function pieces(source: string): Piece[] {
  const found: Piece[] = [];
  const action = /\{\{(-(?=\s))?((?:"(?:[^"\\]|\\.)*"|`[^`]*`|[^"`])*?)(\s-)?\}\}/g;
  let at = 0;
  let trim = false;
  for (const match of source.matchAll(action)) {
    const [whole, left, body, right] = match as unknown as [string, string?, string?, string?];
    let text = source.slice(at, match.index);
    if (trim) text = text.trimStart();
    if (left !== undefined) text = text.trimEnd();
    found.push({ text });
    const inside = (body ?? '').trim();
    if (!/^\/\*[^]*\*\/$/.test(inside)) found.push({ action: inside });
    trim = right !== undefined;
    at = match.index + whole.length;
  }
  const rest = source.slice(at);
  if (rest.includes('{{')) fail(`unclosed action in ${JSON.stringify(rest.slice(0, 60))}`);
  found.push({ text: trim ? rest.trimStart() : rest });
  return found;
}

class TemplateParser {
  readonly #pieces: readonly Piece[];
  #at = 0;

  constructor(source: string) {
    this.#pieces = pieces(source);
  }

  /** Nodes up to `{{end}}` or `{{else}}` (its rest is returned), or to the end of the template. */
  block(nested: boolean): { nodes: Node[]; stop: string } {
    const nodes: Node[] = [];
    while (this.#at < this.#pieces.length) {
      const { text, action } = this.#pieces[this.#at++];
      if (action === undefined) nodes.push({ kind: 'text', text: text ?? '' });
      else {
        const word = /^(end|else)\b/.exec(action)?.[0];
        if (word === undefined) nodes.push(this.#node(action));
        else if (nested) return { nodes, stop: action };
        else return fail(`unexpected {{${word}}}`);
      }
    }
    return nested ? fail('unexpected EOF: {{end}} is missing') : { nodes, stop: '' };
  }

  #node(source: string): Node {
    const parser = new ActionParser(source);
    const word = parser.word();
    if (word !== 'if' && word !== 'with' && word !== 'range') {
      return { kind: 'output', pipeline: whole(parser, source), source };
    }
    parser.skip();
    const names = word === 'range' ? parser.names() : [];
    const pipeline = whole(parser, source);
    const { nodes: body, stop } = this.block(true);
    const otherwise = stop === 'end' ? [] : this.#otherwise(stop);
    return word === 'range'
      ? { kind: word, names, pipeline, body, otherwise }
      : { kind: word, pipeline, body, otherwise };
  }

  #otherwise(stop: string): readonly Node[] {
    const rest = stop.slice('else'.length).trim();
    // `{{else if …}}` is a node of its own, and its {{end}} ends both.
    if (rest !== '') return [this.#node(rest)];
    const { nodes, stop: last } = this.block(true);
    return last === 'end' ? nodes : fail(`expected {{end}}, not {{${last}}}`);
  }
}

function whole(parser: ActionParser, source: string): Pipeline {
  const pipeline = parser.pipeline();
  return parser.done ? pipeline : fail(`unexpected ")" in {{${source}}}`);
}

export const parseTemplate = (source: string): readonly Node[] =>
  new TemplateParser(source).block(false).nodes;
