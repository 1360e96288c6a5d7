/** The results as Markdown tables. */
import { barText, JUDGED, rivalOf } from './bars.js';
import type { Results } from './runner.js';
import { type Cell, isBad, type TableRow } from './summary.js';
import { GROUPS, type Requests, type Row } from './types.js';

/** Two or three significant digits, without an exponent. */
export function figure(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  if (value === 0) return '0';
  return value.toPrecision(Math.abs(value) >= 10 ? 3 : 2);
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function header(cells: readonly string[]): string[] {
  const rule = cells.map((_, index) => (index === 0 ? '---' : '---:'));
  return [line(cells), line(rule)];
}

/** Numbers the reasons why cells are empty. */
export class Notes {
  readonly #texts: string[] = [];

  mark(text: string): string {
    let at = this.#texts.indexOf(text);
    if (at < 0) at = this.#texts.push(text) - 1;
    return `– [${at + 1}]`;
  }

  lines(): string[] {
    return this.#texts.map((text, index) => `${index + 1}. ${text}`);
  }
}

/** `35.1 ms (1.20×)`; bold where we miss the row's bar or are behind fuse-overlayfs. */
export function withRatio(cell: Cell, row: Row): string {
  const ratio = cell.toKernel === undefined ? '' : ` (${cell.toKernel.toFixed(2)}×)`;
  const text = `${figure(cell.median)} ${row.unit}${ratio}`;
  return isBad(cell) ? `**${text}**` : text;
}

export function withSpread(cell: Cell, row: Row): string {
  const ratio = cell.toFuseOverlayfs === undefined ? '' : ` (${cell.toFuseOverlayfs.toFixed(2)}×)`;
  return `${figure(cell.min)}–${figure(cell.max)} ${row.unit}${ratio}`;
}

export function valuesTable(
  table: readonly TableRow[],
  drivers: readonly string[],
  results: Results,
  notes: Notes,
  show: (cell: Cell, row: Row) => string,
): string {
  const lines = header(['', ...drivers]);
  for (const group of GROUPS) {
    const rows = table.filter((entry) => entry.group === group);
    if (rows.length > 0) lines.push(line([`**${group}**`, ...drivers.map(() => '')]));
    for (const { row, trial, cells } of rows) {
      const shown = drivers.map((name) => {
        const cell = cells.get(name);
        if (cell) return show(cell, row);
        const reason = results.reasons.get(row.id)?.get(name);
        return notes.mark(reason ?? results.reasons.get(trial)?.get(name) ?? 'not measured');
      });
      lines.push(line([row.title, ...shown]));
    }
  }
  return lines.join('\n');
}

/** Each row that has a bar: what it is, and for each of our drivers whether it is held. */
export function barTable(table: readonly TableRow[], drivers: readonly string[]): string {
  const judged = JUDGED.filter((name) => drivers.includes(name));
  const lines = header(['', 'bar', ...judged]);
  for (const { row, cells } of table) {
    const bars = judged.map((name) => cells.get(name)?.bar);
    const first = bars.find((bar) => bar !== undefined);
    if (!first) continue;
    const common = barText(first, row.unit);
    const shown = judged.map((name, index) => {
      const cell = cells.get(name);
      const bar = bars[index];
      if (!cell?.over || !bar) return '–';
      const own = barText(bar, row.unit);
      const state = cell.over.length === 0 ? 'ok' : `**over: ${cell.over.join(', ')}**`;
      return own === common ? state : `${state} (bar: ${own})`;
    });
    lines.push(line([row.title, common, ...shown]));
  }
  return lines.length > 2 ? lines.join('\n') : '';
}

/** For each of our drivers, where it stands against fuse-overlayfs. */
export function verdicts(table: readonly TableRow[], drivers: readonly string[]): string[] {
  return JUDGED.filter((name) => drivers.includes(name)).flatMap((name) => {
    const compared = table.flatMap(({ row, cells }) => {
      const cell = cells.get(name);
      return cell?.toFuseOverlayfs === undefined ? [] : [{ row, ...cell }];
    });
    if (compared.length === 0) return [];
    const behind = compared.filter((cell) => cell.behind);
    const list = behind.map(
      ({ row, toFuseOverlayfs }) => `**${row.title}: ${toFuseOverlayfs?.toFixed(2)}×**`,
    );
    const level = `${name} is at least level with ${rivalOf(name)} in ${compared.length - behind.length} of ${compared.length} rows`;
    return list.length === 0 ? `${level}.` : `${level}; behind it: ${list.join('; ')}.`;
  });
}

export function requestTables(results: Results, drivers: readonly string[]): string {
  const lines: string[] = [];
  for (const name of drivers) {
    const requests = results.requests.get(name);
    if (requests) lines.push(`**${name}**`, '', ...requestTable(requests), '');
  }
  return lines.join('\n').trim();
}

function requestTable(requests: Requests): string[] {
  const lines = header(['work', 'requests', 'by opcode']);
  for (const [work, counts] of Object.entries(requests)) {
    const sorted = Object.entries(counts).toSorted((a, b) => b[1] - a[1]);
    const total = sorted.reduce((sum, [, count]) => sum + count, 0);
    const list = sorted.map(([opcode, count]) => `${opcode} ${count}`).join(', ');
    lines.push(line([work, String(total), list || '–']));
  }
  return lines;
}
