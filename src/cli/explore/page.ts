/** What the page of `explore --html` looks like and does. */

export const STYLE = `
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse; width: 100% }
th { text-align: left; border-bottom: 2px solid #888 }
td, th { padding: .15em .8em .15em 0; vertical-align: top; overflow-wrap: anywhere }
tbody tr:nth-child(even) { background: #f3f3f3 }
#tree { font-family: ui-monospace, monospace; font-size: 13px }
#tree details > div { margin-left: 1.5em }
summary, .file { cursor: default; white-space: pre-wrap; overflow-wrap: anywhere }
.layer { color: #06c; display: inline-block; min-width: 3em }
.size { color: #666; display: inline-block; min-width: 6em; text-align: right; margin-right: 1em }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 } tbody tr:nth-child(even) { background: #242424 }
  .layer { color: #6af } .size { color: #999 }
}
`;

/** Directories are filled when they are opened: a tree of a million files opens at once. */
export const SCRIPT = `
'use strict';
const root = JSON.parse(document.getElementById('data').textContent);
const tree = document.getElementById('tree');
const select = document.getElementById('layer');
const find = document.getElementById('find');
const units = ['B', 'kB', 'MB', 'GB', 'TB'];
function size(bytes) {
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit++) bytes /= 1000;
  return Number(bytes.toPrecision(3)) + units[unit];
}
function line(tag, [name, layer, bytes, children]) {
  const element = document.createElement(tag);
  for (const [kind, text] of [['layer', layer], ['size', bytes < 0 ? '' : size(bytes)]]) {
    const span = document.createElement('span');
    span.className = kind;
    span.textContent = text;
    element.append(span);
  }
  element.append(name + (children ? '/' : ''));
  return element;
}
function wanted(node, text, layer) {
  const own = (layer === 0 || node[1] === layer) && (text === '' || node[0].toLowerCase().includes(text));
  return own || (node[3] !== undefined && node[3].some((child) => wanted(child, text, layer)));
}
function fill(parent, node, open) {
  const text = find.value.toLowerCase();
  const layer = Number(select.value);
  const most = 5000;
  const children = node[3].filter((child) => wanted(child, text, layer));
  for (const child of children.slice(0, most)) {
    if (child[3] === undefined) {
      const file = line('div', child);
      file.classList.add('file');
      parent.append(file);
      continue;
    }
    const details = document.createElement('details');
    details.append(line('summary', child));
    const inside = document.createElement('div');
    details.append(inside);
    details.addEventListener('toggle', () => {
      if (details.open && inside.childElementCount === 0) fill(inside, child, false);
    });
    parent.append(details);
    details.open = open;
  }
  if (children.length > most) parent.append('and ' + (children.length - most) + ' more');
}
function draw() {
  tree.replaceChildren();
  fill(tree, root, false);
}
const layers = new Set();
(function collect(node) { layers.add(node[1]); for (const child of node[3] || []) collect(child); })(root);
for (const layer of [...layers].sort((a, b) => a - b)) select.append(new Option(String(layer), String(layer)));
select.addEventListener('change', draw);
find.addEventListener('input', draw);
draw();
`;
