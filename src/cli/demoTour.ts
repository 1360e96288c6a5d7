/** The chapters of the demonstration. */
import { lstatSync, readdirSync } from 'node:fs';
import type { Sys } from '../sys/sys.js';
import type { NamedLayer } from './demoLayers.js';
import { originOf } from './demoOrigin.js';
import type { Report } from './demoReport.js';
import { inRoot, stratafs } from './demoShell.js';

const SHOWN = [
  '/bin/sh',
  '/etc',
  '/etc/hostname',
  '/etc/motd',
  '/usr/share/doc/README',
  '/srv/data',
];

/** The script, in steps; each step is timed. */
const STEPS: readonly (readonly [string, string])[] = [
  ['Inside: programs of base, settings of config', 'id -u; cat /etc/motd; ls -m /'],
  [
    'Inside: what the changes layer hides',
    'ls -m /usr/share/doc /etc; cat /etc/legacy.conf 2>&1 || true',
  ],
  [
    'Inside: changes to files of lower layers',
    'echo "And this line from inside." >> /etc/motd\nchmod 600 /etc/app.conf\nrm /srv/data/two\nmv /srv/data/one /srv/data/first',
  ],
  [
    'Inside: new files',
    'mkdir -p /var/log\nuname -s > /var/log/started\ngrep -c . /etc/motd /var/log/started; ls -m /srv/data',
  ],
];

/** Which layer each thing comes from. */
export function showOrigins(report: Report, sys: Sys, layers: readonly NamedLayer[]): void {
  report.heading('Where things come from');
  report.table(
    SHOWN.map((path) => {
      const { from, hidden } = originOf(sys, layers, path);
      const merged = from.length > 1 ? ' (merged)' : '';
      const over = hidden.length > 0 ? `over the one in ${hidden.join(', ')}` : '';
      return [path, from.join(' + ') + merged, over];
    }),
  );
}

/** What exists in a layer and cannot be seen in the union, and why. */
export function showHidden(report: Report, sys: Sys, layers: readonly NamedLayer[]): void {
  report.heading('What is hidden');
  const rows: string[][] = [];
  for (const layer of layers) {
    for (const path of filesBelow(layer.path, '')) {
      const { hidden, hiddenBy } = originOf(sys, layers, path);
      if (hidden.includes(layer.name))
        rows.push([path, `of ${layer.name}`, `by ${String(hiddenBy)}`]);
    }
  }
  report.table(rows);
}

/** Runs the script inside, step by step; how many steps failed. */
export async function showScript(
  report: Report,
  mountpoint: string,
  stop: AbortSignal,
): Promise<number> {
  let failed = 0;
  for (const [title, script] of STEPS) {
    const { code, output, ms } = await inRoot(mountpoint, `set -e\n${script}`, stop);
    report.heading(title, ms);
    report.session(script, code === 0 ? output : `${output}(exit code ${code})`);
    if (code !== 0) failed++;
  }
  return failed;
}

/** What the script left in the upper: copied up, deleted, new; and the diff as the command prints it. */
export async function showUpper(
  report: Report,
  sys: Sys,
  layers: readonly NamedLayer[],
  union: { readonly mountpoint: string; readonly upper: string },
  stop: AbortSignal,
): Promise<void> {
  const { output, ms } = await stratafs(['diff', union.mountpoint], stop);
  const changes = output.split('\n').filter((line) => line !== '');
  const paths = (kind: string): string[] =>
    changes.filter((line) => line.startsWith(`${kind} `)).map((line) => line.slice(2));
  const source = (path: string): string => originOf(sys, layers, path).from.join(' + ');

  report.heading('What was copied up');
  report.table(paths('C').map((path) => [path, `from ${source(path)}`, size(union.upper + path)]));
  report.heading('What was deleted: a whiteout in the upper now hides it');
  report.table(paths('D').map((path) => [path, `of ${source(path)}`]));
  report.heading('stratafs diff root', ms);
  for (const line of changes) report.line(`  ${line}`);
}

function size(path: string): string {
  const found = lstatSync(path);
  return found.isDirectory() ? 'the directory alone' : `${found.size} bytes`;
}

function filesBelow(root: string, path: string): string[] {
  return readdirSync(root + path, { withFileTypes: true }).flatMap((entry) => {
    const here = `${path}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(root, here) : [here];
  });
}
