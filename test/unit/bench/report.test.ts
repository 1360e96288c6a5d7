import { describe, expect, it } from 'vitest';
import { makeCharts } from '../../../bench/charts.js';
import { FUSE_OVERLAYFS, KERNEL, STRATAFS, USED_HOST } from '../../../bench/drivers.js';
import {
  barTable,
  figure,
  Notes,
  valuesTable,
  verdicts,
  withRatio,
} from '../../../bench/markdown.js';
import { median, pairedRatio } from '../../../bench/statistics.js';
import { summarize } from '../../../bench/summary.js';
import { resultsOf, row, trialOf } from './values.js';

const trials = [
  trialOf('find', [row('find.warm'), row('find.cold')]),
  trialOf('mount', [row('mount.next')], { group: 'Mounts and memory' }),
  trialOf('layers', [row('layers-1.warm', 'µs'), row('layers-20.warm', 'µs')], { group: 'Scale' }),
];
const results = resultsOf({
  'find.warm': { [KERNEL]: [10, 20, 40], [FUSE_OVERLAYFS]: [30, 30, 30], [STRATAFS]: [9, 19, 37] },
  'find.cold': { [KERNEL]: [10], [FUSE_OVERLAYFS]: [20], [STRATAFS]: [30] },
  'mount.next': { [KERNEL]: [2], [STRATAFS]: [31], [USED_HOST]: [5] },
  'layers-1.warm': { [STRATAFS]: [1] },
  'layers-20.warm': { [STRATAFS]: [1.2] },
});
results.reasons.set('find', new Map([[USED_HOST, 'it was tired']]));
const table = summarize(results, trials);
const cell = (id: string, driver: string) =>
  table.find((entry) => entry.row.id === id)?.cells.get(driver);

describe('the figures', () => {
  it('are medians, and medians of the ratios within a round', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBeNaN();
    const base = new Map([
      [0, 10],
      [2, 40],
    ]);
    expect(pairedRatio(new Map([...base].map(([round, v]) => [round, v / 2])), base)).toBe(0.5);
    expect(pairedRatio(new Map([[1, 5]]), base)).toBeUndefined();
    expect(cell('find.warm', STRATAFS)).toMatchObject({ median: 19, min: 9, max: 37, rounds: 3 });
    expect(cell('find.warm', STRATAFS)?.toKernel).toBeCloseTo(0.925);
    expect(cell('find.warm', STRATAFS)?.toFuseOverlayfs).toBeCloseTo(19 / 30);
  });

  it('are shown without an exponent', () => {
    expect([1234.5, 35.14, 3.14159, 0.0123, 0, -0.5].map(figure)).toEqual([
      '1235',
      '35.1',
      '3.1',
      '0.012',
      '0',
      '-0.50',
    ]);
  });
});

describe('a bar', () => {
  it('is held, or missed with the figure that misses it', () => {
    expect(cell('find.warm', STRATAFS)?.over).toEqual(['0.63× fuse-overlayfs']);
    expect(cell('find.cold', STRATAFS)?.over).toEqual(['3× kernel', '1.5× fuse-overlayfs']);
    expect(cell('mount.next', STRATAFS)?.over).toEqual(['31']);
    expect(cell('mount.next', USED_HOST)?.over).toEqual([]);
    expect(cell('layers-20.warm', STRATAFS)?.over).toEqual(['1.2× layers-1.warm']);
  });

  it('is not held for want of a rival', () => {
    const alone = summarize(resultsOf({ 'find.cold': { [STRATAFS]: [1] } }), trials);
    expect(alone[1].cells.get(STRATAFS)).not.toHaveProperty('over');
    expect(barTable(alone, [STRATAFS])).toContain('fuse-overlayfs | – |');
  });

  it('is ours only', () => {
    expect(cell('find.cold', FUSE_OVERLAYFS)?.bar).toBeUndefined();
  });
});

describe('the report', () => {
  const drivers = [KERNEL, STRATAFS, USED_HOST];

  it('has a row for each, bold where a bar is missed, and says why a cell is empty', () => {
    const notes = new Notes();
    const text = valuesTable(table, drivers, results, notes, withRatio);
    expect(text).toContain('| of find.cold | 10.0 ms (1.00×) | **30.0 ms (3.00×)** | – [1] |');
    expect(text).toContain('| of layers-1.warm | – [2] | 1.0 µs | – [2] |');
    expect(notes.lines()).toEqual(['1. it was tired', '2. not measured']);
  });

  it('tells which rows are behind fuse-overlayfs, and which bars are missed', () => {
    expect(verdicts(table, drivers)).toEqual([
      'stratafs is at least level with fuse-overlayfs in 1 of 2 rows; behind it: **of find.cold: 1.50×**.',
    ]);
    expect(barTable(table, drivers)).toContain('| of mount.next | ≤ 30 ms | **over: 31** | ok |');
  });

  it('has a chart for each group that has ratios, with missed rows in red', async () => {
    const said: string[] = [];
    const charts = await makeCharts(table, drivers, (text) => said.push(text));
    expect(said).toEqual([]);
    expect([...charts.keys()]).toEqual(['Reading', 'Mounts and memory']);
    const svg = charts.get('Reading') ?? '';
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" /);
    expect(svg).toContain('prefers-color-scheme: dark');
    expect(svg).toMatch(/fill="#d62728"[^>]*>of find.cold</);
    expect(svg).toContain(`</tspan>${STRATAFS}`);
    expect(svg).not.toContain('NaN');
  });
});
