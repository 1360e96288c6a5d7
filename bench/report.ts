/** Results as Markdown and JSON. */
import { FUSE_OVERLAYFS, KERNEL, STRATAFS } from './drivers.js';
import type { Machine } from './machine.js';
import type { BenchOptions } from './options.js';
import type { Results } from './runner.js';
import { median, pairedRatio } from './statistics.js';
import type { Fixture, Requests, Row, Trial } from './types.js';

interface Cell {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
  /** Median of the paired ratios. */
  readonly toKernel?: number;
  readonly toFuseOverlayfs?: number;
}

interface TableRow {
  readonly row: Row;
  readonly trial: string;
  readonly cells: ReadonlyMap<string, Cell>;
}

function summarize(results: Results, trials: readonly Trial[]): TableRow[] {
  const table: TableRow[] = [];
  for (const trial of trials) {
    for (const row of trial.rows) {
      const byDriver = results.values.get(row.id);
      const cells = new Map<string, Cell>();
      for (const [name, rounds] of byDriver ?? []) {
        const values = [...rounds.values()];
        const toKernel = pairedRatio(rounds, byDriver?.get(KERNEL) ?? new Map());
        const toFuse = pairedRatio(rounds, byDriver?.get(FUSE_OVERLAYFS) ?? new Map());
        cells.set(name, {
          median: median(values),
          min: Math.min(...values),
          max: Math.max(...values),
          rounds: values.length,
          ...(toKernel !== undefined && { toKernel }),
          ...(toFuse !== undefined && { toFuseOverlayfs: toFuse }),
        });
      }
      table.push({ row, trial: trial.name, cells });
    }
  }
  return table;
}

/** Three significant digits, without an exponent. */
function figure(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value.toPrecision(value >= 10 ? 3 : 2);
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function header(cells: readonly string[]): string[] {
  const rule = cells.map((_, index) => (index === 0 ? '---' : '---:'));
  return [line(cells), line(rule)];
}

/** Numbers the reasons why cells are empty. */
class Notes {
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

function valuesTable(
  table: readonly TableRow[],
  drivers: readonly string[],
  results: Results,
  notes: Notes,
  show: (cell: Cell, row: Row) => string,
): string[] {
  const lines = header(['', ...drivers]);
  for (const { row, trial, cells } of table) {
    const shown = drivers.map((name) => {
      const cell = cells.get(name);
      if (cell) return show(cell, row);
      return notes.mark(results.reasons.get(trial)?.get(name) ?? 'not measured');
    });
    lines.push(line([row.title, ...shown]));
  }
  return lines;
}

/** The issue of the comparison: where the first-named driver stands against the second. */
function verdict(table: readonly TableRow[]): string[] {
  const behind: string[] = [];
  let compared = 0;
  for (const { row, cells } of table) {
    const ratio = cells.get(STRATAFS)?.toFuseOverlayfs;
    if (ratio === undefined) continue;
    compared++;
    if (ratio > 1) behind.push(`**${row.title}: ${ratio.toFixed(2)}× fuse-overlayfs**`);
  }
  if (compared === 0) return [];
  const level = `stratafs is at least level with fuse-overlayfs in ${compared - behind.length} of ${compared} rows.`;
  return behind.length === 0 ? [level] : [level, `Behind it: ${behind.join('; ')}.`];
}

function requestLines(results: Results, drivers: readonly string[]): string[] {
  const lines: string[] = [];
  for (const [trial, byDriver] of results.requests) {
    const option = trial.includes('=') ? ` ${trial.slice(trial.indexOf('-') + 1)}` : '';
    for (const name of drivers) {
      const requests = byDriver.get(name);
      if (requests) lines.push('', `**${name}${option}**`, '', ...requestTable(requests));
    }
  }
  return lines;
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

function machineLines(machine: Machine, fixture: Fixture, options: BenchOptions): string[] {
  const versions = Object.entries(machine.versions).map(([name, text]) => `${name}: ${text}`);
  const { files, tar, small, include, etc } = fixture.counts;
  return [
    `Measured ${machine.when} at commit ${machine.commit}; Linux ${machine.kernel}, ` +
      `${machine.cores} × ${machine.processor}, ${machine.memoryGiB} GiB, ${machine.fileSystem}, Node ${machine.node}.`,
    `${versions.join('; ')}.`,
    `${options.rounds} rounds${options.quick ? ' (--quick: too small a tree to conclude from)' : ''}, ` +
      `${options.sharedServer ? 'one resident server' : 'a fresh server each trial'}. ` +
      `Tree: ${files} files in 3 lower layers; \`tar\` reads ${tar}, the small-file rows ${small}, ` +
      `untar, \`cp -a\` and \`rm -rf\` take ${include}, \`chmod -R\` ${etc}; the large file has ${fixture.bigBytes / 2 ** 20} MiB.`,
  ];
}

export interface Report {
  readonly markdown: string;
  readonly json: string;
}

export function makeReport(
  results: Results,
  options: BenchOptions,
  machine: Machine,
  fixture: Fixture,
): Report {
  const drivers = options.drivers.map(({ name }) => name);
  const table = summarize(results, options.trials);
  const notes = new Notes();
  const withRatio = (cell: Cell, row: Row) =>
    `${figure(cell.median)} ${row.unit}` +
    (cell.toKernel === undefined ? '' : ` (${cell.toKernel.toFixed(2)}×)`);
  const medians = valuesTable(table, drivers, results, notes, withRatio);
  const spread = (cell: Cell, row: Row) =>
    `${figure(cell.min)}–${figure(cell.max)} ${row.unit}` +
    (cell.toFuseOverlayfs === undefined ? '' : ` (${cell.toFuseOverlayfs.toFixed(2)}×)`);
  const spreads = valuesTable(table, drivers, results, notes, spread);
  const requests = requestLines(results, drivers);
  const sections = [
    ...machineLines(machine, fixture, options),
    'Medians; in brackets the median of the paired ratios to kernel overlayfs. Less is better.',
    medians.join('\n'),
    ...verdict(table),
    'Least and most; in brackets the median of the paired ratios to fuse-overlayfs.',
    spreads.join('\n'),
    notes.lines().join('\n'),
    ...(requests.length > 0 ? ['Requests that reached the server:', requests.join('\n')] : []),
  ];
  return {
    markdown: `${sections.filter((text) => text !== '').join('\n\n')}\n`,
    json: toJson(results, table, options, machine, fixture),
  };
}

function toJson(
  results: Results,
  table: readonly TableRow[],
  options: BenchOptions,
  machine: Machine,
  fixture: Fixture,
): string {
  const rows = table.map(({ row, trial, cells }) => ({
    ...row,
    trial,
    drivers: Object.fromEntries(
      [...cells].map(([name, cell]) => [
        name,
        { ...cell, values: [...(results.values.get(row.id)?.get(name)?.values() ?? [])] },
      ]),
    ),
  }));
  const plain = <V>(map: Map<string, Map<string, V>>) =>
    Object.fromEntries([...map].map(([key, inner]) => [key, Object.fromEntries(inner)]));
  const { counts, bigBytes } = fixture;
  const content = {
    machine,
    rounds: options.rounds,
    quick: options.quick,
    sharedServer: options.sharedServer,
    fixture: { counts, bigBytes },
    commands: Object.fromEntries(options.drivers.map(({ name, command }) => [name, command])),
    rows,
    reasons: plain(results.reasons),
    requests: plain(results.requests),
  };
  return `${JSON.stringify(content, undefined, 2)}\n`;
}
