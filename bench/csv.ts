/** Every value of a run as comma-separated values: one line for each row, driver and round. */
import type { Results } from './runner.js';
import type { TableRow } from './summary.js';

/** RFC 4180. */
const field = (value: string | number): string =>
  /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);

export function csvOf(table: readonly TableRow[], results: Results): string {
  const lines = [['row', 'title', 'group', 'unit', 'driver', 'round', 'value']];
  for (const { row, group } of table) {
    for (const [driver, rounds] of results.values.get(row.id) ?? []) {
      for (const [round, value] of rounds) {
        lines.push([row.id, row.title, group, row.unit, driver, String(round + 1), String(value)]);
      }
    }
  }
  return lines.map((line) => `${line.map(field).join(',')}\n`).join('');
}
