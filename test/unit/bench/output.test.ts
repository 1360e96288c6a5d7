/** What people and programs get of a run besides its Markdown. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { compareRuns } from '../../../bench/compare.js';
import { csvOf } from '../../../bench/csv.js';
import { parseDriver } from '../../../bench/drivers.js';
import type { Results } from '../../../bench/runner.js';
import { type Cell, noiseOf, type TableRow } from '../../../bench/summary.js';
import { terminalTable } from '../../../bench/terminal.js';

const cell = (median: number, max = median): Cell => ({
  ...{ median, min: median, max, rounds: 5, behind: false },
});

const row = (id: string, cells: Readonly<Record<string, Cell>>): TableRow => ({
  row: { id, title: `the row, ${id}`, unit: 'ms' },
  trial: id,
  group: 'Reading',
  cells: new Map(Object.entries(cells)),
});

const table = [row('a', { fast: cell(1), slow: cell(3) }), row('b', { slow: cell(200, 900) })];

describe('the table of a terminal', () => {
  it('fits, shows all drivers and marks the fastest', () => {
    const names = ['fast', 'slow', 'a driver with a long name', 'another one', 'and one more'];
    for (const columns of [40, 80, 200]) {
      const text = terminalTable(table, names, columns);
      expect(text.split('\n').filter((line) => line.length > columns)).toEqual([]);
      for (const name of names) expect(text).toContain(name.slice(0, 10));
      expect(text).toContain('1.0 ms*');
      expect(text).not.toContain('3.0 ms*');
    }
  });
});

it('warns of rows whose rounds lie far apart', () => {
  expect(noiseOf(table)).toEqual([expect.stringMatching(/the row, b: .*slow 4\.5×/)]);
});

it('writes each value as comma-separated values', () => {
  const values = new Map([['a', new Map([['fast', new Map([[0, 1.5]])]])]]);
  const lines = csvOf(table, { values } as unknown as Results).split('\n');
  expect(lines).toEqual([
    'row,title,group,unit,driver,round,value',
    'a,"the row, a",Reading,ms,fast,1,1.5',
    '',
  ]);
});

describe('a driver of the user', () => {
  it('is split as a shell does, with placeholders within quotes', () => {
    const { command, server } = parseDriver(`mine=sh -c 'exec driver "{opts}" {mnt}' a\\ b &`);
    expect(command).toEqual(['sh', '-c', 'exec driver "{opts}" {mnt}', 'a b']);
    expect(server).toBe('stays');
    expect(parseDriver('x=drv -o "{opts}" {mnt}').command).toEqual([
      'drv',
      '-o',
      '{opts}',
      '{mnt}',
    ]);
  });
});

describe('two saved runs', () => {
  const base = mkdtempSync(join(tmpdir(), 'stratafs-compare-'));
  afterAll(() => {
    rmSync(base, { recursive: true });
  });
  const save = (name: string, value: unknown): string => {
    writeFileSync(join(base, name), JSON.stringify(value));
    return join(base, name);
  };
  const run = (median: number): unknown => ({
    machine: { when: 'then', commit: 'commit abc' },
    rows: [{ id: 'a', title: 'the row', unit: 'ms', drivers: { mine: { median } } }],
  });

  it('are compared row by row', () => {
    const text = compareRuns(save('before.json', run(10)), save('after.json', run(15)));
    expect(text).toContain('| the row | mine | 10.0 ms | 15.0 ms | 1.50× |');
  });

  it('have to be runs', () => {
    expect(() => compareRuns(save('no.json', []), join(base, 'gone'))).toThrow('is no saved run');
  });
});
