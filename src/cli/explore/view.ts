/** What the terminal shows of the layers, and what each key does; no terminal is touched here. */
import type { Explored } from '../../store/explore/explore.js';
import type { Node } from '../../store/explore/model.js';
import { humanSize } from '../frame/human.js';
import { safeName, safeText } from '../frame/names.js';
import { sorted } from './files.js';
import { commandText, layerName, percent } from './text.js';

type ViewName = 'files' | 'changes' | 'wasted' | 'largest';

interface Line {
  readonly text: string;
  /** Given by the selected layer. */
  readonly marked: boolean;
  readonly node?: Node;
}

const HELP = [
  'up, down, page keys, home, end   move',
  'tab                              layers or list',
  'space, enter                     open or close a directory',
  'right, left                      open, close',
  'f  files     every file, with the layer that gives it; those of the selected layer are bold',
  'c  changes   what the selected layer adds (A), changes (C) and removes (D)',
  'w  wasted    bytes that are hidden by a layer above and still kept',
  'l  largest   the largest files that layers add or change',
  'o            in files: only those of the selected layer',
  '/            show only what has this in its path; escape ends that',
  'q            leave',
];

const LAYERS_SHARE = 0.4;

const fit = (text: string, width: number): string => {
  const points = Array.from(text);
  return points.length > width
    ? `${points.slice(0, Math.max(0, width - 1)).join('')}…`
    : text + ' '.repeat(width - points.length);
};

const clamp = (value: number, most: number): number => Math.max(0, Math.min(value, most));

export class View {
  readonly #explored: Explored;
  readonly #open = new Set<Node>();
  readonly #sizes = new Map<Node, number>();
  #view: ViewName = 'files';
  #layer: number;
  #inList = false;
  #at = 0;
  #top = 0;
  #filter = '';
  #typing = false;
  #only = false;
  #help = false;
  #lines: Line[] | undefined;

  constructor(explored: Explored) {
    this.#explored = explored;
    this.#layer = explored.layers.length;
    this.#open.add(explored.root);
  }

  /** `name` as node:readline calls it; `text`: what was typed. False: leave. */
  key(name: string, text: string, page: number): boolean {
    if (this.#typing) {
      this.#type(name, text);
      return true;
    }
    if (this.#help) {
      this.#help = false;
      return name !== 'q';
    }
    switch (name) {
      case 'q':
        return false;
      case 'tab':
        this.#inList = !this.#inList;
        break;
      case 'up':
      case 'k':
        this.#move(-1);
        break;
      case 'down':
      case 'j':
        this.#move(1);
        break;
      case 'pageup':
        this.#move(-page);
        break;
      case 'pagedown':
        this.#move(page);
        break;
      case 'home':
        this.#move(-Infinity);
        break;
      case 'end':
        this.#move(Infinity);
        break;
      default:
        this.#act(name, text);
    }
    return true;
  }

  #act(name: string, text: string): void {
    const views: Readonly<Record<string, ViewName>> = {
      f: 'files',
      c: 'changes',
      w: 'wasted',
      l: 'largest',
    };
    if (Object.hasOwn(views, name)) this.#show(views[name]);
    else if (name === 'space' || name === 'return' || name === 'enter') this.#fold();
    else if (name === 'right') this.#fold(true);
    else if (name === 'left') this.#fold(false);
    else if (name === 'o') {
      this.#only = !this.#only;
      this.#again();
    } else if (name === 'escape') {
      this.#filter = '';
      this.#again();
    } else if (text === '/') this.#typing = true;
    else if (text === '?') this.#help = true;
  }

  #type(name: string, text: string): void {
    if (name === 'return' || name === 'enter') this.#typing = false;
    else if (name === 'escape') {
      this.#typing = false;
      this.#filter = '';
    } else if (name === 'backspace') this.#filter = this.#filter.slice(0, -1);
    else if (text.length === 1 && text >= ' ' && text !== '\u007f') this.#filter += text;
    this.#again();
  }

  #show(view: ViewName): void {
    this.#view = view;
    this.#inList = true;
    this.#again();
  }

  #again(): void {
    this.#lines = undefined;
    this.#at = 0;
    this.#top = 0;
  }

  #move(by: number): void {
    if (this.#inList) {
      this.#at = clamp(this.#at + by, this.#list().length - 1);
      return;
    }
    this.#layer = clamp(this.#layer - 1 + by, this.#explored.layers.length - 1) + 1;
    if (this.#view === 'changes' || this.#only) this.#again();
    else this.#lines = undefined;
  }

  #fold(open?: boolean): void {
    const node = this.#inList ? this.#list()[this.#at]?.node : undefined;
    if (!node?.children) return;
    if (open ?? !this.#open.has(node)) this.#open.add(node);
    else this.#open.delete(node);
    this.#lines = undefined;
  }

  #list(): Line[] {
    this.#lines ??= this.#makeLines();
    return this.#lines;
  }

  #makeLines(): Line[] {
    const { layers, wastes, largest } = this.#explored;
    const line = (size: number, layer: number, what: string, path: string): Line => ({
      text: `${humanSize(size).padStart(8)} ${String(layer).padStart(4)} ${what} /${safeName(path)}`,
      marked: layer === this.#layer,
    });
    const wanted = <T extends { readonly path: string }>(list: readonly T[]): T[] =>
      list.filter(({ path }) => this.#matches(path));
    switch (this.#view) {
      case 'files':
        return [...this.#tree(this.#explored.root, '', '')];
      case 'changes':
        return wanted(layers[this.#layer - 1]?.changes ?? []).map(({ bytes, path, kind }) =>
          line(bytes, this.#layer, kind, path),
        );
      case 'wasted':
        return wanted(wastes).map(({ bytes, layer, how, by, path }) =>
          line(bytes, layer, `${how} by ${by}`, path),
        );
      case 'largest':
        return wanted(largest).map(({ bytes, layer, kind, path }) =>
          line(bytes, layer, kind, path),
        );
    }
  }

  #matches = (path: string): boolean =>
    this.#filter === '' || safeName(path).includes(this.#filter);

  *#tree(node: Node, path: string, indent: string): Generator<Line> {
    for (const [name, child] of sorted(node)) {
      const full = `${path}/${name}`;
      if (!this.#wants(child, full)) continue;
      const isOpen = this.#open.has(child) || this.#filter !== '';
      const sign = child.children ? (isOpen ? '▾ ' : '▸ ') : '  ';
      const size = humanSize(this.#sizeOf(child)).padStart(8);
      const text = `${size} ${String(child.layer).padStart(4)} ${indent}${sign}${safeName(name)}`;
      yield { text, marked: child.layer === this.#layer, node: child };
      if (child.children && isOpen) yield* this.#tree(child, full, `${indent}  `);
    }
  }

  /** It, or something in it, is of the layer and has the text that are asked for. */
  #wants(node: Node, path: string): boolean {
    if (this.#filter === '' && !this.#only) return true;
    const own = !this.#only || node.layer === this.#layer;
    if (own && this.#matches(path) && (!node.children || this.#filter !== '')) return true;
    return [...(node.children ?? [])].some(([name, child]) =>
      this.#wants(child, `${path}/${name}`),
    );
  }

  #sizeOf(node: Node): number {
    const known = this.#sizes.get(node);
    if (known !== undefined) return known;
    let size = node.data?.size ?? 0;
    for (const child of node.children?.values() ?? []) size += this.#sizeOf(child);
    this.#sizes.set(node, size);
    return size;
  }

  /** The screen, line by line, with the codes of colours. */
  render(columns: number, rows: number): string[] {
    const { name, bytes, wasted } = this.#explored;
    const height = Math.max(1, rows - 3);
    const left = Math.max(20, Math.floor(columns * LAYERS_SHARE));
    const right = Math.max(1, columns - left - 3);
    const summary = `${safeText(name)}   ${humanSize(bytes)}, wasted ${humanSize(wasted)}, shown ${percent(bytes - wasted, bytes)}`;
    const out = [inverse(fit(summary, columns))];
    const layers = this.#layerPane(left, height);
    const list = this.#listPane(right, height);
    const titles = [fit('Layer   size  command', left), fit(this.#title(), right)];
    out.push(bold(titles.join(' │ ')));
    for (let at = 0; at < height; at++) {
      if (this.#help) out.push(fit(HELP[at] ?? '', columns));
      else out.push(`${layers[at] ?? ' '.repeat(left)} │ ${list[at] ?? ''}`);
    }
    const keys = this.#typing
      ? `/${this.#filter}_`
      : 'tab panes  f files  c changes  w wasted  l largest  o only layer  / find  ? keys  q leave';
    out.push(inverse(fit(keys, columns)));
    return out.slice(0, rows);
  }

  #title(): string {
    const only = this.#only && this.#view === 'files' ? `, only layer ${this.#layer}` : '';
    const filter = this.#filter === '' ? '' : `, with "${this.#filter}"`;
    const of = this.#view === 'changes' ? ` of layer ${this.#layer}` : '';
    return `    size layer  ${this.#view}${of}${only}${filter}`;
  }

  #layerPane(width: number, height: number): string[] {
    const { layers } = this.#explored;
    const begin = clamp(
      this.#layer - 1 - Math.floor(height / 2),
      Math.max(0, layers.length - height),
    );
    return layers.slice(begin, begin + height).map(({ number, bytes, id, command }) => {
      const what = command === '' ? layerName(id) : commandText(command);
      const text = fit(
        `${String(number).padStart(4)} ${humanSize(bytes).padStart(8)}  ${what}`,
        width,
      );
      if (number !== this.#layer) return text;
      return this.#inList ? bold(text) : inverse(text);
    });
  }

  #listPane(width: number, height: number): string[] {
    const lines = this.#list();
    this.#at = clamp(this.#at, lines.length - 1);
    if (this.#at < this.#top) this.#top = this.#at;
    if (this.#at >= this.#top + height) this.#top = this.#at - height + 1;
    return lines.slice(this.#top, this.#top + height).map(({ text, marked }, i) => {
      const shown = fit(text, width);
      if (this.#inList && this.#top + i === this.#at) return inverse(shown);
      return marked ? bold(shown) : shown;
    });
  }
}

const inverse = (text: string): string => `\u001b[7m${text}\u001b[0m`;
const bold = (text: string): string => `\u001b[1m${text}\u001b[0m`;
