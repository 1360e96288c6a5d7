/** The layers of a mount: `lowerdir`, `lowerdir+` and `datadir+`. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import type { Collected } from './collected.js';
import { absolute, cut, unescape } from './list.js';

/** `A:B::D1::D2`: layers after a single colon are merged, after two data-only (ovl_parse_param_lowerdir). */
export function takeLowers(into: Collected, value: string, cwd: string): void {
  into.lowers = [];
  into.dataLayers = [];
  into.listed = true;
  let data = false;
  const parts = partsOf(value, into.asFuseOverlayfs);
  for (const [i, part] of parts.entries()) {
    if (part === '') {
      if (i === 0 || i === parts.length - 1 || data) {
        throw new UserError(
          'lowerdir has a colon without a layer beside it: A:B merges, A::D adds the data-only layer D, and a colon in a name is written \\:',
        );
      }
      data = true;
      continue;
    }
    const path = absolute(unescape(part), cwd);
    if (data) into.dataLayers.push(path);
    else into.lowers.push(path);
    if (!data && into.dataLayers.length > 0) throw mergedAfterData(path);
    data = false;
  }
}

/** fuse-overlayfs passes over what is empty (strtok_r), and some of its callers end the list with a colon. */
function partsOf(value: string, asFuseOverlayfs: boolean): string[] {
  const parts = cut(value, ':', false);
  return asFuseOverlayfs ? parts.filter((part) => part !== '') : parts;
}

const mergedAfterData = (path: string): UserError =>
  new UserError(
    `lower layer ${display(path)} comes after a data-only layer: put data-only layers last`,
  );

function refuseMixed(into: Collected, name: string): void {
  if (!into.listed) return;
  throw new UserError(`option ${name} cannot follow lowerdir: give all layers in one of the ways`);
}

/** `lowerdir+`: one more layer below those before it, its colons as they are. */
export function addLower(into: Collected, value: string, cwd: string): void {
  refuseMixed(into, 'lowerdir+');
  const path = absolute(unescape(value), cwd);
  if (into.dataLayers.length > 0) throw mergedAfterData(path);
  into.lowers.push(path);
}

/** `datadir+`: one more data-only layer. */
export function addDataLayer(into: Collected, value: string, cwd: string): void {
  refuseMixed(into, 'datadir+');
  into.dataLayers.push(absolute(unescape(value), cwd));
}
