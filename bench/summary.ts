/** From the values of all rounds to one cell for each row and driver, and its judgement. */
import { type Bar, barOf, JUDGED, rivalOf } from './bars.js';
import { KERNEL } from './drivers.js';
import type { Results } from './runner.js';
import { median, pairedRatio } from './statistics.js';
import type { Group, Row, Trial } from './types.js';

export interface Cell {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
  /** Median of the paired ratios, their least and most. */
  readonly toKernel?: number;
  readonly toKernelRange?: readonly [number, number];
  /** The same to the fuse-overlayfs that the driver is compared with. */
  readonly toFuseOverlayfs?: number;
  readonly bar?: Bar;
  /** The limits of the bar that are missed, in words: none when it is held; absent when not compared. */
  readonly over?: readonly string[];
  /** One of ours, and slower or larger than its fuse-overlayfs. */
  readonly behind: boolean;
}

/** What the report marks. */
export const isBad = ({ over, behind }: Cell): boolean => behind || (over?.length ?? 0) > 0;

export interface TableRow {
  readonly row: Row;
  readonly trial: string;
  readonly group: Group;
  readonly cells: ReadonlyMap<string, Cell>;
}

type Rounds = ReadonlyMap<number, number>;
const NOTHING: Rounds = new Map();

/** Ratios as they are shown: what is shown as equal to a bar is not over it. */
const rounded = (value: number): number => Number(value.toFixed(2));

/**
 * The limits of `bar` that a cell misses; undefined when there is nothing to compare it with.
 * `other` is the median of another row of the same driver.
 */
function missed(
  cell: Cell,
  bar: Bar,
  other: (row: string) => number | undefined,
): string[] | undefined {
  const over: string[] = [];
  let compared = 0;
  const check = (value: number | undefined, limit: number | undefined, what: string) => {
    if (value === undefined || limit === undefined) return;
    compared++;
    if (rounded(value) > rounded(limit)) over.push(`${rounded(value)}${what}`);
  };
  check(cell.toKernel, bar.kernel, '× kernel');
  check(cell.toFuseOverlayfs, bar.fuseOverlayfs, '× fuse-overlayfs');
  check(cell.median, bar.value, '');
  if (bar.flat) {
    const base = other(bar.flat.row);
    check(base === undefined ? undefined : cell.median / base, bar.flat.times, `× ${bar.flat.row}`);
  }
  return compared > 0 ? over : undefined;
}

function ratios(values: Rounds, base: Rounds): number[] {
  return [...values].flatMap(([round, value]) => {
    const other = base.get(round);
    return other === undefined ? [] : [value / other];
  });
}

function cellOf(row: Row, driver: string, values: Rounds, results: Results): Cell {
  const byDriver = results.values.get(row.id);
  const kernel = byDriver?.get(KERNEL) ?? NOTHING;
  const toKernel = pairedRatio(values, kernel);
  const toFuse = pairedRatio(values, byDriver?.get(rivalOf(driver)) ?? NOTHING);
  const all = [...values.values()];
  const paired = ratios(values, kernel);
  const cell: Cell = {
    median: median(all),
    min: Math.min(...all),
    max: Math.max(...all),
    rounds: all.length,
    behind: JUDGED.includes(driver) && toFuse !== undefined && rounded(toFuse) > 1,
    ...(toKernel !== undefined && {
      toKernel,
      toKernelRange: [Math.min(...paired), Math.max(...paired)],
    }),
    ...(toFuse !== undefined && { toFuseOverlayfs: toFuse }),
  };
  const bar = barOf(row.id, driver);
  if (!bar) return cell;
  const other = (id: string) => {
    const rounds = results.values.get(id)?.get(driver);
    return rounds && median([...rounds.values()]);
  };
  const over = missed(cell, bar, other);
  return { ...cell, bar, ...(over && { over }) };
}

export function summarize(results: Results, trials: readonly Trial[]): TableRow[] {
  return trials.flatMap((trial) =>
    trial.rows.map((row) => {
      const cells = new Map<string, Cell>();
      for (const [driver, values] of results.values.get(row.id) ?? []) {
        cells.set(driver, cellOf(row, driver, values, results));
      }
      return { row, trial: trial.name, group: trial.group, cells };
    }),
  );
}

/** A round that takes this many times the median is an outlier; so many rounds tell one. */
const OUTLIER = 2;
const ENOUGH_ROUNDS = 3;

/** Rows whose rounds lie far apart, as sentences: their medians mean little. */
export function noiseOf(table: readonly TableRow[]): string[] {
  return table.flatMap(({ row, cells }) => {
    const noisy = [...cells].filter(
      ([, { rounds, max, median: middle }]) => rounds >= ENOUGH_ROUNDS && max > OUTLIER * middle,
    );
    if (noisy.length === 0) return [];
    const worst = noisy.map(
      ([driver, { max, median: middle }]) => `${driver} ${(max / middle).toFixed(1)}×`,
    );
    return [`${row.title}: a round took far more than the median (${worst.join(', ')})`];
  });
}
