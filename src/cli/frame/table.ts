/** Docker's lists: a table, JSON lines, or a template of the user's, from the same rows. */
import { print } from './output.js';
import { compileTemplate } from './template.js';
import { show } from './templateFunctions.js';

/** Field names and texts, as `--format` knows them: `{ Repository: 'debian', ID: '…' }`. */
export type Row = Readonly<Record<string, unknown>>;

export interface Columns {
  /** Fields of the table, in order, with their headers. */
  readonly table: Readonly<Record<string, string>>;
  /** Headers of further fields, for `--format 'table …'`. */
  readonly more?: Readonly<Record<string, string>>;
  /** The field `-q` prints. */
  readonly quiet: string;
}

const LEAST_WIDTH = 10;
const PADDING = 3;

/** Code points: wide characters are counted as one column, as Go's tabwriter does. */
const width = (cell: string): number => Array.from(cell).length;

/** Cells in columns (Go's tabwriter with Docker's settings): the last one of a line is not padded. */
export function alignColumns(lines: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const cells of lines) {
    cells.slice(0, -1).forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? LEAST_WIDTH, width(cell) + PADDING);
    });
  }
  const pad = (cell: string, i: number, cells: readonly string[]): string =>
    i === cells.length - 1 ? cell : cell + ' '.repeat(widths[i] - width(cell));
  return lines.map((cells) => `${cells.map(pad).join('')}\n`).join('');
}

const unescape = (format: string): string => format.replaceAll('\\t', '\t').replaceAll('\\n', '\n');

/** The list as text. `format`: undefined, `table`, `table TEMPLATE`, `json` or a template. */
export function listText(
  rows: readonly Row[],
  columns: Columns,
  options: { readonly format?: string | undefined; readonly quiet?: boolean },
): string {
  const { format = 'table', quiet } = options;
  if (quiet && (format === 'table' || format === 'json')) {
    return rows.map((row) => `${String(row[columns.quiet])}\n`).join('');
  }
  if (format === 'json') return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  if (format === 'table') {
    const head = Object.values(columns.table);
    const fields = Object.keys(columns.table);
    const body = rows.map((row) => fields.map((field) => show(row[field] ?? '')));
    return alignColumns([head, ...body]);
  }
  if (!format.startsWith('table ')) {
    const template = compileTemplate(unescape(format));
    return rows.map((row) => `${template(row)}\n`).join('');
  }
  const template = compileTemplate(unescape(format.slice('table '.length)));
  const lines = [template({ ...columns.more, ...columns.table }), ...rows.map(template)];
  return alignColumns(lines.map((line) => line.split('\t')));
}

export function printList(
  rows: readonly Row[],
  columns: Columns,
  options: { readonly format?: string | undefined; readonly quiet?: boolean },
): void {
  print(listText(rows, columns, options));
}

/**
 * What `inspect` prints: an array of documents, JSON with four blanks, or a template's result for each.
 */
export function inspectText(documents: readonly object[], format?: string): string {
  if (format === undefined || format === '') return `${JSON.stringify(documents, undefined, 4)}\n`;
  if (format === 'json') return `${JSON.stringify(documents)}\n`;
  const template = compileTemplate(unescape(format));
  return documents.map((document) => `${template(document)}\n`).join('');
}
