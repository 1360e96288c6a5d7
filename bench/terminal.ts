/** The results in a table that fits a terminal. */
import { figure } from './markdown.js';
import type { TableRow } from './summary.js';

const TITLE = 34;
const USUAL_WIDTH = 80;
const GAP = 2;
const LEAST = 12;

const cut = (text: string, width: number): string =>
  text.length > width ? `${text.slice(0, width - 1)}…` : text;

/** Drivers beside each other as far as they fit, the others in further blocks. The fastest has a star. */
export function terminalTable(
  table: readonly TableRow[],
  drivers: readonly string[],
  columns = USUAL_WIDTH,
): string {
  const rows = table.filter(({ cells }) => cells.size > 0);
  const width = Math.max(LEAST, ...drivers.map((name) => Math.min(name.length, LEAST + 6))) + GAP;
  const title = Math.min(TITLE, Math.max(LEAST, columns - width));
  const fit = Math.max(1, Math.floor((columns - title) / width));
  const blocks: string[] = [];
  for (let at = 0; at < drivers.length; at += fit) {
    const names = drivers.slice(at, at + fit);
    const head = `${''.padEnd(title)}${names.map((name) => cut(name, width - GAP).padStart(width)).join('')}`;
    const lines = rows.map(({ row, cells }) => {
      const least = Math.min(...[...cells.values()].map((cell) => cell.median));
      const shown = names.map((name) => {
        const cell = cells.get(name);
        if (!cell) return '–'.padStart(width);
        return `${figure(cell.median)} ${row.unit}${cell.median === least ? '*' : ' '}`.padStart(
          width,
        );
      });
      return `${cut(row.title.replaceAll('`', ''), title).padEnd(title)}${shown.join('')}`;
    });
    blocks.push([head, ...lines].join('\n'));
  }
  return `${blocks.join('\n\n')}\n\nMedians; less is better.\n* is the fastest, or smallest.\n`;
}
