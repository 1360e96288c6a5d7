/** `explore --json`: one document. */
import { display } from '../../base/bytes.js';
import type { Explored, ExploredLayer } from '../../store/explore/explore.js';
import { files } from './files.js';

/** A path as text; its exact bytes, too, where the text is not them. */
function pathFields(path: string): { path: string; pathBase64?: string } {
  const bytes = Buffer.from(path, 'latin1');
  const text = `/${display(path)}`;
  return Buffer.from(text.slice(1), 'utf8').equals(bytes)
    ? { path: text }
    : { path: text, pathBase64: Buffer.concat([Buffer.from('/'), bytes]).toString('base64') };
}

const layerFields = (layer: ExploredLayer) => {
  const { number, id, command, created, bytes, wasted, added, changed, removed } = layer;
  return { number, id, command, created, bytes, wasted, added, changed, removed };
};

/** The document, in pieces: the list of files may be longer than a string can be. */
export function* exploredJson(explored: Explored, top: number): Generator<string, void> {
  const { name, layers, wastes, largest, bytes, wasted, root } = explored;
  const head = {
    name,
    bytes,
    wasted,
    layers: layers.map(layerFields),
    wastes: wastes.map(({ path, ...waste }) => ({ ...pathFields(path), ...waste })),
    largest: largest.slice(0, top).map(({ path, ...large }) => ({ ...pathFields(path), ...large })),
  };
  yield JSON.stringify(head).slice(0, -1);
  yield ',"files":[';
  let first = true;
  for (const { path, node } of files(root)) {
    const { kind, layer, data } = node;
    const size = data ? { bytes: data.size } : {};
    const line = JSON.stringify({ ...pathFields(path), kind, layer, ...size });
    yield first ? `\n${line}` : `,\n${line}`;
    first = false;
  }
  yield ']}\n';
}
