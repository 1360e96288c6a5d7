/**
 * `explore --html`: one page that needs nothing else. The lists are written as text, so that they are
 * readable without scripts; the tree of files comes as data, and the page's script makes elements of it by
 * `textContent` alone. A policy in the page lets no other script run and nothing be loaded.
 */
import { createHash } from 'node:crypto';
import type { Explored } from '../../store/explore/explore.js';
import type { Node } from '../../store/explore/model.js';
import { humanSize } from '../frame/human.js';
import { safeName, safeText } from '../frame/names.js';
import { sorted } from './files.js';
import { SCRIPT, STYLE } from './page.js';
import { commandText, layerName, percent } from './text.js';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const html = (text: string): string => text.replace(/[&<>"']/g, (each) => ENTITIES[each]);
const row = (cells: readonly string[], tag = 'td'): string =>
  `<tr>${cells.map((cell) => `<${tag}>${html(cell)}</${tag}>`).join('')}</tr>\n`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<table>\n<thead>${row(head, 'th')}</thead>\n<tbody>\n${rows.map((each) => row(each)).join('')}</tbody>\n</table>\n`;

/** `[name, layer, bytes or -1, children?]`; of a directory the bytes below it. */
type Packed = [string, number, number, Packed[]?];

function packed(name: string, node: Node): Packed {
  const shown = safeName(name);
  if (!node.children) return [shown, node.layer, node.data?.size ?? -1];
  const children = sorted(node).map(([each, child]) => packed(each, child));
  const bytes = children.reduce((sum, [, , size]) => sum + Math.max(0, size), 0);
  return [shown, node.layer, bytes, children];
}

/** JSON inside a script element: no `</script>` and no `<!--` can be in it. */
const embedded = (value: unknown): string =>
  JSON.stringify(value).replaceAll('<', '\\u003c').replaceAll('\u2028', '\\u2028');

const hashOf = (script: string): string => createHash('sha256').update(script).digest('base64');

function lists({ layers, wastes, largest }: Explored, top: number): string {
  const bar = (bytes: number, most: number): string =>
    most === 0 ? '' : '█'.repeat(Math.ceil((bytes / most) * 20));
  const most = Math.max(0, ...layers.map(({ bytes }) => bytes));
  const layerRows = [...layers]
    .reverse()
    .map((layer) => [
      String(layer.number),
      layerName(layer.id),
      humanSize(layer.bytes),
      bar(layer.bytes, most),
      layer.wasted === 0 ? '' : humanSize(layer.wasted),
      String(layer.added),
      String(layer.changed),
      String(layer.removed),
      commandText(layer.command),
    ]);
  const wasteRows = wastes
    .slice(0, top)
    .map(({ path, bytes, layer, by, how }) => [
      humanSize(bytes),
      String(layer),
      `${how} by ${by}`,
      `/${safeName(path)}`,
    ]);
  const largeRows = largest
    .slice(0, top)
    .map(({ layer, kind, path, bytes }) => [
      humanSize(bytes),
      String(layer),
      kind === 'A' ? 'added' : 'changed',
      `/${safeName(path)}`,
    ]);
  const heads = ['Layer', 'ID', 'Size', '', 'Wasted', 'Added', 'Changed', 'Removed', 'Created by'];
  return [
    `<h2>Layers, the topmost first</h2>\n${table(heads, layerRows)}`,
    `<h2>Wasted: hidden and still kept (${wastes.length})</h2>\n`,
    table(['Size', 'Layer', 'Hidden', 'Path'], wasteRows),
    '<h2>Largest changes</h2>\n',
    table(['Size', 'Layer', 'Kind', 'Path'], largeRows),
  ].join('');
}

export function* exploredHtml(explored: Explored, top: number): Generator<string, void> {
  const { name, layers, bytes, wasted, root } = explored;
  const title = html(safeText(name));
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hashOf(SCRIPT)}'`;
  yield `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${title}: layers</title>
<style>${STYLE}</style>
<h1>${title}</h1>
<p>${layers.length} layers, ${humanSize(bytes)} in files, ${humanSize(wasted)} of it hidden by layers above;
${percent(bytes - wasted, bytes)} is shown.</p>
`;
  yield lists(explored, top);
  yield `<h2>Files, each with the layer that gives it</h2>
<p><label>Only layer <select id="layer"><option value="0">all</option></select></label>
<label>Find <input id="find" type="search"></label></p>
<div id="tree"><noscript>The tree of files needs JavaScript.</noscript></div>
<script type="application/json" id="data">`;
  yield embedded(packed('', root));
  yield `</script>
<script>${SCRIPT}</script>
</html>
`;
}
