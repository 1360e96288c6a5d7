/** Two saved runs beside each other: `--compare A.json B.json`. */
import { readFileSync } from 'node:fs';
import { figure } from './markdown.js';

interface Saved {
  readonly machine: { readonly when: string; readonly commit: string };
  readonly rows: readonly {
    readonly id: string;
    readonly title: string;
    readonly unit: string;
    readonly drivers: Readonly<Record<string, { readonly median: number } | undefined>>;
  }[];
}

function read(path: string): Saved {
  let saved: unknown;
  try {
    saved = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`${path} is no saved run: ${(error as Error).message}`);
  }
  if (typeof saved !== 'object' || saved === null || !('rows' in saved) || !('machine' in saved)) {
    throw new Error(`${path} is no saved run: give the .json that the bench has written.`);
  }
  return saved as Saved;
}

/** A table of what both have measured, the largest change first. Throws a sentence. */
export function compareRuns(before: string, after: string): string {
  const [a, b] = [read(before), read(after)];
  const lines = a.rows.flatMap((row) => {
    const other = b.rows.find(({ id }) => id === row.id);
    return Object.entries(row.drivers).flatMap(([driver, cell]) => {
      const now = other?.drivers[driver];
      if (!cell || !now) return [];
      return [{ title: row.title, unit: row.unit, driver, was: cell.median, is: now.median }];
    });
  });
  lines.sort((x, y) => Math.abs(Math.log(y.is / y.was)) - Math.abs(Math.log(x.is / x.was)));
  const shown = lines.map(
    ({ title, unit, driver, was, is }) =>
      `| ${title} | ${driver} | ${figure(was)} ${unit} | ${figure(is)} ${unit} | ${(is / was).toFixed(2)}× |`,
  );
  const head = `Before: ${a.machine.when}, ${a.machine.commit}. After: ${b.machine.when}, ${b.machine.commit}. Runs of two days differ by more than their drivers: only ratios within one run compare well.`;
  return [
    head,
    '',
    '| row | driver | before | after | |',
    '|---|---|---:|---:|---:|',
    ...shown,
    '',
  ].join('\n');
}
