/** `stratafs diff MNT PATH`: which layer gives one path, and what that hides. */
import { join } from 'node:path';
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { Served } from '../client/ask.js';
import { type Trace, traceUnion } from '../diff/trace.js';
import { TRUSTED, USER } from '../layer/xattrs.js';
import { layerFormat } from '../store/layers/format.js';
import { print, printBytes, shownPath } from './frame/output.js';

const KINDS: Readonly<Record<Trace['kind'], string>> = {
  whiteout: 'whiteout',
  directory: 'directory',
  file: 'file',
  metadata: 'copy of the metadata; the data is below',
  other: 'symlink, device, FIFO or socket',
};

/** What the trace says of the path. */
function roleOf(each: Trace, found: readonly Trace[]): string {
  const first = found.find(({ hidden }) => !hidden);
  const copied = first?.kind === 'metadata' ? found.find(({ kind }) => kind === 'file') : undefined;
  if (each === copied) return 'data from';
  if (each.hidden || (each !== first && first?.kind === 'whiteout')) return 'hides';
  if (each === first) return each.kind === 'whiteout' ? 'removed by' : 'given by';
  return each.kind === 'whiteout' ? 'hides' : 'merged with';
}

function line(each: Trace, found: readonly Trace[]): string {
  const size = each.kind === 'file' || each.kind === 'metadata' ? `, ${each.size} bytes` : '';
  const opaque = each.opaque ? ', opaque' : '';
  const where = shownPath(join(each.layer, each.path));
  const layer = each.upper ? 'upper' : 'lower';
  return `${roleOf(each, found).padEnd(12)}${layer} ${where}: ${KINDS[each.kind]}${size}${opaque}\n`;
}

const toJson = ({ layer, path, ...rest }: Trace): object => ({
  layer: display(layer),
  path: display(path),
  upper: rest.upper,
  kind: rest.kind,
  mode: rest.mode,
  size: rest.size,
  opaque: rest.opaque,
  hidden: rest.hidden,
});

/** Prints it; throws UserError when no layer has the path. */
export function printWhere(mount: Served, path: string, json: boolean): void {
  const prefix = layerFormat().userxattr ? USER : TRUSTED;
  const found = traceUnion(mount, path, prefix);
  if (found.length === 0) {
    throw new UserError(`no layer of ${display(mount.mountpoint)} has ${display(path)}`);
  }
  if (json) print(`${JSON.stringify(found.map(toJson), undefined, 2)}\n`);
  else printBytes(Buffer.from(found.map((each) => line(each, found)).join(''), 'latin1'));
}
