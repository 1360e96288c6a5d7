/**
 * The results as SVG charts, one for each group: a row's ratios to kernel overlayfs, by driver, on
 * a logarithmic scale. The texts take the reader's colour scheme; the drivers' colours are readable
 * on white and on black.
 */
import { KERNEL } from './drivers.js';
import { isBad, type TableRow } from './summary.js';
import { GROUPS } from './types.js';

/** Wong's palette, without its black and yellow. */
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#8c6bb1', '#7f7f7f'];
const SYMBOLS = ['circle', 'square', 'triangle', 'diamond', 'star', 'cross'] as const;
/** The same, as characters for the legend. */
const GLYPHS = ['●', '■', '▲', '◆', '★', '✚'];
/** Drivers in a line of the legend. */
const LEGEND_WIDTH = 5;
const LEGEND_LINE = 16;
const RED = '#d62728';
const ROW_HEIGHT = 20;

interface Point {
  readonly row: string;
  readonly driver: string;
  readonly ratio: number;
  readonly least: number;
  readonly most: number;
  readonly bad: boolean;
}

interface Limit {
  readonly row: string;
  readonly limit: number;
}

const STYLE = `<style>
svg { color: #1f2328; background: #ffffff; }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3; background: #0d1117; } }
</style>`;

function pointsOf(rows: readonly TableRow[], drivers: readonly string[]): Point[] {
  return rows.flatMap(({ row, cells }) =>
    drivers.flatMap((driver) => {
      const cell = cells.get(driver);
      if (cell?.toKernel === undefined || !cell.toKernelRange) return [];
      const [least, most] = cell.toKernelRange;
      const bad = isBad(cell);
      return [{ row: row.title, driver, ratio: cell.toKernel, least, most, bad }];
    }),
  );
}

/** The bars of a group's rows that are ratios to kernel overlayfs. */
function limitsOf(rows: readonly TableRow[]): Limit[] {
  return rows.flatMap(({ row, cells }) => {
    const limits = [...cells.values()].flatMap(({ bar }) => bar?.kernel ?? []);
    return [...new Set(limits)].map((limit) => ({ row: row.title, limit }));
  });
}

/** What a server takes, in MiB: kernel overlayfs has none to compare with. */
function memoryPoints(rows: readonly TableRow[], drivers: readonly string[]): Point[] {
  return rows.flatMap(({ row, cells }) =>
    drivers.flatMap((driver) => {
      const cell = cells.get(driver);
      if (row.unit !== 'MiB' || !cell || cell.toKernel !== undefined) return [];
      const { median: ratio, min: least, max: most } = cell;
      return [{ row: row.title, driver, ratio, least, most, bad: isBad(cell) }];
    }),
  );
}

/** One chart: its title, what its scale is, and what stands on it. */
interface Sheet {
  readonly title: string;
  readonly label: string;
  readonly points: readonly Point[];
  readonly limits: readonly Limit[];
  /** Kernel overlayfs is the line at 1. */
  readonly line: boolean;
}

/** The libraries that draw are development packages. */
async function libraries() {
  const [plot, dom] = await Promise.all([import('@observablehq/plot'), import('linkedom')]);
  const window: unknown = dom.parseHTML('<!doctype html><html><body></body></html>');
  return { plot, document: (window as { document: object }).document };
}

type Libraries = Awaited<ReturnType<typeof libraries>>;

/** What is drawn: the line of the kernel, the titles, the bars, and of each driver its span and its point. */
function marksOf(plot: Libraries['plot'], sheet: Sheet, drivers: readonly string[]) {
  const { points, limits, line } = sheet;
  const bad = new Set(points.filter((point) => point.bad).map(({ row }) => row));
  const colour = (driver: string) => COLOURS[drivers.indexOf(driver) % COLOURS.length] ?? RED;
  const symbol = (driver: string) => SYMBOLS[drivers.indexOf(driver) % SYMBOLS.length] ?? 'circle';
  return [
    plot.ruleX(line ? [1] : [], { strokeOpacity: 0.5 }),
    plot.axisY({
      tickSize: 0,
      fill: (title: string) => (bad.has(title) ? RED : 'currentColor'),
      tickFormat: (title: string) => title.replaceAll('`', ''),
    }),
    plot.tickX(limits, { x: 'limit', y: 'row', stroke: 'currentColor', strokeWidth: 2 }),
    plot.ruleY(points, {
      y: 'row',
      x1: 'least',
      x2: 'most',
      stroke: ({ driver }: Point) => colour(driver),
      strokeOpacity: 0.5,
    }),
    plot.dot(points, {
      x: 'ratio',
      y: 'row',
      r: 4,
      symbol: ({ driver }: Point) => symbol(driver),
      fill: ({ driver }: Point) => colour(driver),
      stroke: ({ driver, bad: red }: Point) => (red ? RED : colour(driver)),
      strokeWidth: 2,
    }),
  ];
}

function draw(
  { plot, document }: Libraries,
  sheet: Sheet,
  drivers: readonly string[],
): string | undefined {
  const { points, title, label } = sheet;
  const shown = drivers.filter((driver) => points.some((point) => point.driver === driver));
  const top = LEGEND_LINE * (2 + Math.ceil(shown.length / LEGEND_WIDTH));
  if (points.length === 0) return undefined;
  const titles = [...new Set(points.map(({ row }) => row))];
  const chart: unknown = plot.plot({
    // The types of a browser are not loaded here.
    document: document as never,
    width: 960,
    height: top + 40 + titles.length * ROW_HEIGHT,
    marginLeft: 330,
    marginTop: top,
    x: { type: 'log', grid: true, label, tickFormat: String },
    y: { domain: titles, label: null, axis: null },
    marks: marksOf(plot, sheet, drivers),
  });
  return finish((chart as { outerHTML: string }).outerHTML, title, { drawn: shown, all: drivers });
}

/** A file of its own: with a name space, the colours of the text, and lines that name the drivers. */
function finish(
  svg: string,
  group: string,
  { drawn, all }: { readonly drawn: readonly string[]; readonly all: readonly string[] },
): string {
  const names = drawn.map((driver) => {
    // By its place among all: a driver looks the same in every chart.
    const index = all.indexOf(driver);
    const glyph = GLYPHS[index % GLYPHS.length];
    const colour = COLOURS[index % COLOURS.length];
    return `<tspan fill="${colour}" font-weight="bold">${glyph} </tspan>${driver}   `;
  });
  const lines: string[] = [];
  for (let at = 0; at < names.length; at += LEGEND_WIDTH) {
    const y = LEGEND_LINE * (2 + at / LEGEND_WIDTH);
    const line = names.slice(at, at + LEGEND_WIDTH).join('');
    lines.push(`<text x="8" y="${y}" xml:space="preserve">${line}</text>`);
  }
  const note = 'thin line: least to most; tick: the bar; red: over it, or behind fuse-overlayfs';
  const title = `<text x="8" y="${LEGEND_LINE}" font-weight="bold">${group}; ${note}</text>`;
  const legend = `<g text-anchor="start" font-size="11">${title}${lines.join('')}</g>`;
  return `${svg
    .replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" ')
    .replace(/(<svg [^>]*>)/, `$1${STYLE}`)
    .replace(/<\/svg>$/, `${legend}</svg>`)}\n`;
}

/**
 * Title → SVG: a chart for each group, and one for memory. Without the libraries (where only the package is
 * installed) none, and a sentence through `say`.
 */
export async function makeCharts(
  table: readonly TableRow[],
  drivers: readonly string[],
  say: (text: string) => void,
): Promise<Map<string, string>> {
  const charts = new Map<string, string>();
  let found: Libraries;
  try {
    found = await libraries();
  } catch (error) {
    say(`no charts: ${(error as Error).message}; npm install @observablehq/plot linkedom`);
    return charts;
  }
  const others = drivers.filter((driver) => driver !== KERNEL);
  const sheets = GROUPS.map((title): Sheet => {
    const rows = table.filter(({ group }) => group === title);
    const label = `times ${KERNEL} (less is better)`;
    return { title, label, points: pointsOf(rows, others), limits: limitsOf(rows), line: true };
  });
  const points = memoryPoints(table, others);
  sheets.push({ title: 'Memory', label: 'MiB (less is better)', points, limits: [], line: false });
  for (const sheet of sheets) {
    const svg = draw(found, sheet, others);
    if (svg !== undefined) charts.set(sheet.title, svg);
  }
  return charts;
}
