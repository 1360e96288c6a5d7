/** `explore` as plain text: for pipes, and for those who read from top to bottom. */
import type { Explored, ExploredLayer } from '../../store/explore/explore.js';
import { humanSize } from '../frame/human.js';
import { safeName, safeText } from '../frame/names.js';
import { alignColumns } from '../frame/table.js';
import { files } from './files.js';

const ID_DIGITS = 12;

/** A diff id by its first digits, as elsewhere; a path as it is. */
export const layerName = (id: string): string =>
  id.startsWith('sha256:') ? id.slice('sha256:'.length).slice(0, ID_DIGITS) : safeText(id);

/** What a step says, on one line and without the shell before it. */
export function commandText(command: string): string {
  const said = command.replace(/^\/bin\/sh -c (#\(nop\) +)?/, '').replaceAll(/\s+/g, ' ');
  return safeText(said.trim());
}

export const percent = (part: number, whole: number): string =>
  whole === 0 ? '100 %' : `${(Math.floor((part / whole) * 1000) / 10).toString()} %`;

const cut = (text: string, width: number): string =>
  text.length > width ? `${text.slice(0, width - 1)}…` : text;

function layerLine(layer: ExploredLayer): string[] {
  const { number, bytes, wasted, added, changed, removed } = layer;
  const counts = [added, changed, removed].map(String);
  const waste = wasted === 0 ? '-' : humanSize(wasted);
  const command = cut(commandText(layer.command), 60);
  return [String(number), layerName(layer.id), humanSize(bytes), waste, ...counts, command];
}

const heading = (text: string): string => `\n${text}\n`;

interface TextOptions {
  /** Lines of each list. */
  readonly top: number;
  /** Every file with the layer that gives it. */
  readonly files: boolean;
}

export function exploredText(explored: Explored, { top, files: all }: TextOptions): string {
  const { layers, wastes, largest, bytes, wasted } = explored;
  const head = ['LAYER', 'ID', 'SIZE', 'WASTED', 'ADDED', 'CHANGED', 'REMOVED', 'CREATED BY'];
  const out = [
    `${safeText(explored.name)}: ${layers.length} layers, ${humanSize(bytes)} in files, ` +
      `${humanSize(wasted)} of it hidden by layers above; ${percent(bytes - wasted, bytes)} is shown\n`,
    heading('Layers, the topmost first'),
    alignColumns([head, ...[...layers].reverse().map(layerLine)]),
  ];
  if (wastes.length > 0) {
    out.push(heading(`Wasted: hidden and still kept${shownOf(top, wastes.length)}`));
    const rows = wastes
      .slice(0, top)
      .map(({ path, bytes: size, layer, by, how }) => [
        humanSize(size),
        String(layer),
        `${how} by ${by}`,
        `/${safeName(path)}`,
      ]);
    out.push(alignColumns([['SIZE', 'LAYER', 'HIDDEN', 'PATH'], ...rows]));
  }
  out.push(heading(`Largest changes${shownOf(top, largest.length)}`));
  const rows = largest
    .slice(0, top)
    .map(({ layer, kind, path, bytes: size }) => [
      humanSize(size),
      String(layer),
      kind,
      `/${safeName(path)}`,
    ]);
  out.push(alignColumns([['SIZE', 'LAYER', 'KIND', 'PATH'], ...rows]));
  if (all) {
    out.push(heading('Files, each with the layer that gives it'));
    const lines = [...files(explored.root)].map(({ path, node }) => [
      String(node.layer),
      node.data ? humanSize(node.data.size) : node.kind,
      `/${safeName(path)}`,
    ]);
    out.push(alignColumns([['LAYER', 'SIZE', 'PATH'], ...lines]));
  }
  return out.join('');
}

const shownOf = (top: number, count: number): string =>
  count > top ? ` (${top} of ${count}; --top says how many)` : '';
