/** Results as Markdown, JSON and charts. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { makeCharts } from './charts.js';
import type { Machine } from './machine.js';
import {
  barTable,
  Notes,
  requestTables,
  valuesTable,
  verdicts,
  withRatio,
  withSpread,
} from './markdown.js';
import type { BenchOptions } from './options.js';
import type { Results } from './runner.js';
import { csvOf } from './csv.js';
import { noiseOf, summarize, type TableRow } from './summary.js';
import { terminalTable } from './terminal.js';
import type { Driver, Fixture } from './types.js';

export interface Run {
  readonly results: Results;
  readonly options: BenchOptions;
  readonly machine: Machine;
  readonly fixture: Fixture;
  /** By a signal, before all rounds were done. */
  readonly stopped: boolean;
}

/** How a driver's server lives, in words; undefined for what has none. */
function hostOf(driver: Driver): string | undefined {
  if (!driver.command || driver.command[0] === 'mount') return undefined;
  if (driver.resident === true)
    return `${driver.name}: one server for the whole run, in use before`;
  return driver.rootless === true
    ? `${driver.name}: a fresh server for each trial, in a user namespace`
    : undefined;
}

function machineLines({ machine, fixture, options, results, stopped }: Run): string[] {
  const versions = Object.entries(machine.versions).map(([name, text]) => `${name}: ${text}`);
  const { files, tar, small, include, etc } = fixture.counts;
  const hosts = options.drivers.flatMap((driver) => hostOf(driver) ?? []);
  const minutes = [...results.seconds.values()].reduce((sum, seconds) => sum + seconds, 0) / 60;
  return [
    `Measured ${machine.when} at ${machine.commit}, load average ${machine.load.map((each) => each.toFixed(2)).join(', ')}; Linux ${machine.kernel}, ` +
      `${machine.cores} × ${machine.processor}, ${machine.memoryGiB} GiB, ${machine.fileSystem}, Node ${machine.node}. ` +
      `${versions.join('; ')}.`,
    `${options.rounds} round${options.rounds > 1 ? 's' : ''}${stopped ? ', stopped before their end' : ''}${options.quick ? ' (--quick: too small a tree to conclude from)' : ''} in ${minutes.toFixed(0)} minutes, ` +
      `a fresh server for each trial, so that its code is not yet compiled${hosts.length > 0 ? `, but ${hosts.join('; ')}` : ''}. ` +
      `Tree: ${files} files in 3 lower layers; \`tar\` and \`grep\` read ${tar}, the small-file rows ${small}, ` +
      `untar, \`cp -a\`, \`rm -rf\` and \`mv\` take ${include}, \`chmod -R\`, \`chown -R\` and \`truncate\` ${etc}; the large file has ${fixture.bigBytes / 2 ** 20} MiB.`,
  ];
}

const slug = (group: string): string => group.toLowerCase().replaceAll(' ', '-');

function markdownOf(
  run: Run,
  table: readonly TableRow[],
  charts: ReadonlyMap<string, string>,
  name: string,
): string {
  const { results, options } = run;
  const drivers = options.drivers.map(({ name: driver }) => driver);
  const notes = new Notes();
  const medians = valuesTable(table, drivers, results, notes, withRatio);
  const spreads = valuesTable(table, drivers, results, notes, withSpread);
  const bars = barTable(table, drivers);
  const requests = requestTables(results, drivers);
  const images = [...charts.keys()].map((group) => `![${group}](${name}-${slug(group)}.svg)`);
  const sections = [
    ...machineLines(run),
    'Medians; in brackets the median of the paired ratios to kernel overlayfs; bold where we miss a bar or are behind fuse-overlayfs. Less is better.',
    medians,
    images.join('\n\n'),
    ...noiseOf(table).map((text) => `Noise: ${text}.`),
    ...verdicts(table, drivers),
    ...(bars === '' ? [] : ['What we are to hold:', bars]),
    'Least and most; in brackets the median of the paired ratios to fuse-overlayfs (rootless ones to the rootless one).',
    spreads,
    notes.lines().join('\n'),
    ...(requests === '' ? [] : ['Requests that reached the server:', requests]),
  ];
  return `${sections.filter((text) => text !== '').join('\n\n')}\n`;
}

function toJson({ results, options, machine, fixture }: Run, table: readonly TableRow[]): string {
  const rows = table.map(({ row, trial, group, cells }) => ({
    ...row,
    trial,
    group,
    drivers: Object.fromEntries(
      [...cells].map(([name, cell]) => [
        name,
        { ...cell, values: [...(results.values.get(row.id)?.get(name)?.values() ?? [])] },
      ]),
    ),
  }));
  const reasons = [...results.reasons].map(([key, inner]) => [key, Object.fromEntries(inner)]);
  const { counts, bigBytes } = fixture;
  const content = {
    machine,
    rounds: options.rounds,
    quick: options.quick,
    fixture: { counts, bigBytes },
    drivers: options.drivers,
    rows,
    reasons: Object.fromEntries(reasons) as unknown,
    requests: Object.fromEntries(results.requests),
    seconds: Object.fromEntries(results.seconds),
  };
  return `${JSON.stringify(content, undefined, 2)}\n`;
}

/** Writes OUT.md, OUT.json, OUT.csv and OUT-GROUP.svg; returns what a terminal shows. */
export async function writeReport(
  run: Run,
  out: string,
  say: (text: string) => void,
): Promise<string> {
  const drivers = run.options.drivers.map(({ name }) => name);
  const table = summarize(run.results, run.options.trials);
  const charts = await makeCharts(table, drivers, say);
  const markdown = markdownOf(run, table, charts, basename(out));
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(`${out}.md`, markdown);
  writeFileSync(`${out}.json`, toJson(run, table));
  writeFileSync(`${out}.csv`, csvOf(table, run.results));
  for (const [group, svg] of charts) writeFileSync(`${out}-${slug(group)}.svg`, svg);
  say(`results: ${out}.md, .json, .csv${charts.size > 0 ? ' and .svg' : ''}`);
  for (const noise of noiseOf(table)) say(`warning: ${noise}`);
  return process.stdout.isTTY ? terminalTable(table, drivers, process.stdout.columns) : markdown;
}
