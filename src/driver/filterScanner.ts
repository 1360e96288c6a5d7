/** The words of a filter (containerd's pkg/filters/scanner.go). */

export interface Token {
  readonly kind: 'field' | 'value' | 'quoted' | 'separator' | 'operator' | 'end' | 'illegal';
  readonly text: string;
  /** Of what is illegal. */
  readonly wrong?: string;
}

const FIELD = /[A-Za-z0-9_]/;
const OPERATOR = /[=!~]/;
const QUOTE = /["/|]/;
const SPACE = /\s/u;
/** Whatever is visible, but a comma. */
const VALUE = /[^\p{C}\p{Z},]/u;
const ESCAPE = /^\\(?:[abfnrtv\\"/|]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})/;

export class Scanner {
  readonly #characters: readonly string[];
  #at = 0;
  /** An operator was last: what comes is a value, which may hold nearly everything. */
  #value = false;

  constructor(text: string) {
    this.#characters = Array.from(text);
  }

  /** The next character; empty at the end. */
  peek(): string {
    return this.#characters[this.#at] ?? '';
  }

  scan(): Token {
    while (SPACE.test(this.peek())) this.#at++;
    const first = this.peek();
    if (first === '') return { kind: 'end', text: '' };
    if (QUOTE.test(first)) return this.#quoted(first);
    if (first === ',' || first === '.') {
      this.#value = false;
      this.#at++;
      return { kind: 'separator', text: first };
    }
    if (OPERATOR.test(first)) {
      this.#value = true;
      return { kind: 'operator', text: this.#while(OPERATOR) };
    }
    if (this.#value && VALUE.test(first)) {
      this.#value = false;
      return { kind: 'value', text: this.#while(VALUE) };
    }
    if (FIELD.test(first)) return { kind: 'field', text: this.#while(FIELD) };
    this.#at++;
    return { kind: 'illegal', text: first, wrong: `unexpected '${first}'` };
  }

  #while(kind: RegExp): string {
    const from = this.#at;
    // The first one is taken as it is.
    do this.#at++;
    while (kind.test(this.peek()));
    return this.#characters.slice(from, this.#at).join('');
  }

  #quoted(quote: string): Token {
    const from = this.#at++;
    const text = () => this.#characters.slice(from, this.#at).join('');
    for (;;) {
      const character = this.peek();
      if (character === '' || character === '\n') {
        return { kind: 'illegal', text: text(), wrong: 'a quoted literal is not terminated' };
      }
      if (character === '\\') {
        const escape = ESCAPE.exec(this.#characters.slice(this.#at, this.#at + 10).join(''));
        if (!escape) return { kind: 'illegal', text: text(), wrong: 'illegal escape sequence' };
        this.#at += escape[0].length;
        continue;
      }
      this.#at++;
      if (character === quote) return { kind: 'quoted', text: text() };
    }
  }
}

const SIMPLE: Readonly<Record<string, number>> = { a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 };

/** The content of a token of kind `quoted`. */
export function unquote(token: string): string {
  const parts: Buffer[] = [];
  let rest = token.slice(1, -1);
  while (rest !== '') {
    const escape = rest.startsWith('\\') ? ESCAPE.exec(rest) : null;
    if (!escape) {
      const next = rest.indexOf('\\', 1);
      const plain = next < 0 ? rest : rest.slice(0, next);
      parts.push(Buffer.from(plain, 'utf8'));
      rest = rest.slice(plain.length);
      continue;
    }
    parts.push(escaped(escape[0].slice(1)));
    rest = rest.slice(escape[0].length);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** `\xNN` and `\NNN` are bytes, `\u` and `\U` characters. */
function escaped(body: string): Buffer {
  const kind = body[0];
  if (kind === 'x') return Buffer.from([parseInt(body.slice(1), 16)]);
  if (kind === 'u' || kind === 'U') {
    const point = parseInt(body.slice(1), 16);
    return Buffer.from(point > 0x10ffff ? '\ufffd' : String.fromCodePoint(point), 'utf8');
  }
  if (kind >= '0' && kind <= '7') return Buffer.from([parseInt(body, 8) & 0xff]);
  return Buffer.from([SIMPLE[kind] ?? kind.charCodeAt(0)]);
}
