/** Opens the layers of a mount. When this fails, nothing stays open or half made. */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import { S_IFDIR } from '../base/mode.js';
import { noName } from '../layer/absence.js';
import { isIdmapped } from '../layer/idmapped.js';
import { closeLayer, type Layer, openLayer } from '../layer/layer.js';
import { type DirMarks, dirMarks } from '../layer/whiteout.js';
import { unknownMark } from '../layer/xattrs.js';
import { ROOT } from '../protocol/flags.js';
import { AT_FDCWD, O_DIRECTORY, O_PATH } from '../sys/constants.js';
import { SMALL, type Sys } from '../sys/sys.js';
import type { FdCache } from './data/fdCache.js';
import { F_IMPURE, F_UPPER, F_XWHITEOUTS } from './inodes/record.js';
import { xinoHi } from './lookup/identity.js';
import { type LinkIndex, openIndex } from './workdir/linkIndex.js';
import { Listings } from './listing/shared.js';
import { placeFlags } from './lookup/lowerMarks.js';
import { withFormat } from './format.js';
import { Overlay } from './overlay.js';
import { passesThrough } from './plane.js';
import type { OverlaySpec } from './spec.js';
import { openWorkdir, type Workdir } from './workdir/workdir.js';

/** What is open on the way to an overlay. */
interface Opened {
  /** What is merged, topmost first, the upper included. */
  readonly layers: Layer[];
  readonly dataLayers: Layer[];
  upper: Layer | undefined;
  work: Workdir | undefined;
  links: LinkIndex | undefined;
  /** The index of a read-only mount, as one more lower. */
  index: Layer | undefined;
  /** Ids of lowers whose mounts map IDs by themselves. */
  readonly idmapped: Set<number>;
}

/** Throws a UserError with one sentence. */
export function openOverlay(
  sys: Sys,
  asked: OverlaySpec,
  fds: FdCache,
  listings = new Listings(),
): Overlay {
  const spec = withFormat(sys, asked);
  const opened: Opened = {
    layers: [],
    dataLayers: [],
    upper: undefined,
    work: undefined,
    links: undefined,
    index: undefined,
    idmapped: new Set(),
  };
  const { layers, dataLayers } = opened;
  let overlay: Overlay | undefined;
  try {
    openParts(sys, spec, opened);
    const { upper, work, links, index, idmapped } = opened;
    overlay = new Overlay({
      ...{ sys, spec, layers, dataLayers, upper, work, fds, links, listings, idmapped },
      ...(index ? { frozen: { index, upper: layers[0] } } : {}),
    });
    overlay.nameMax = longestName(sys, layers);
    addRoot(overlay, layers);
    overlay.passthrough = passesThrough(sys, spec, overlay.allLayers(), layers);
    return overlay;
  } catch (error) {
    if (overlay) {
      overlay.close();
      throw error;
    }
    if (opened.index) closeLayer(sys, opened.index);
    opened.links?.close();
    opened.work?.close();
    for (const layer of [...layers, ...dataLayers]) closeLayer(sys, layer);
    throw error;
  }
}

/** f_namelen of struct statfs. */
const NAMELEN = 64;

/** Of the names that the layers' file systems can have. */
function longestName(sys: Sys, layers: readonly Layer[]): number {
  const lengths = layers.map(({ root, path }) => {
    const code = sys.native.fstatfs(root, SMALL);
    if (code < 0) throw new UserError(`cannot examine ${display(path)}: ${errnoText(code)}`);
    // 0: a FUSE server that does not tell.
    return sys.u32[(SMALL + NAMELEN) >> 2] || Infinity;
  });
  return Math.max(...lengths);
}

/** Opens layers, workdir and index; `opened` has what is open, also when it throws. */
function openParts(sys: Sys, spec: OverlaySpec, opened: Opened): void {
  const { layers, dataLayers } = opened;
  let id = 1;
  if (spec.upper !== undefined) {
    const top = openLayer(sys, spec.upper, id++, !spec.readOnly);
    layers.push(top);
    if (!spec.readOnly) opened.upper = top;
  }
  for (const path of spec.lowers) {
    // The clone that is opened is in no table.
    if (spec.ids && isIdmapped(sys, path)) opened.idmapped.add(id);
    layers.push(openLayer(sys, path, id++, false));
  }
  for (const path of spec.dataLayers ?? []) dataLayers.push(openLayer(sys, path, id++, false));
  const { upper } = opened;
  if (upper) {
    if (spec.work === undefined) throw new UserError('upperdir needs a workdir; give workdir=DIR');
    const work = openWorkdir(sys, spec.work, upper.root, spec.durability === 'volatile');
    opened.work = work;
    opened.links = openIndex(sys, { spec, upper, work, lowers: layers.slice(1) });
  } else if (spec.readOnly && spec.upper !== undefined && spec.work !== undefined) {
    opened.links = openFrozenIndex(sys, spec, layers);
    opened.index = opened.links?.asLayer(id);
  }
}

/**
 * The index of a read-only mount, when the workdir has one: without it, changed files would show old
 * data under some names.
 */
function openFrozenIndex(
  sys: Sys,
  spec: OverlaySpec,
  [upper, ...lowers]: readonly Layer[],
): LinkIndex | undefined {
  const path = spec.work ?? '';
  const base = sys.open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, 0);
  if (noName(base)) return undefined;
  if (base < 0) throw new UserError(`cannot open workdir ${display(path)}: ${errnoText(base)}`);
  try {
    const links = openIndex(sys, { spec, upper, work: { base, path, trusted: true }, lowers });
    if (links && links.dir >= 0) return links;
    links?.close();
    return undefined;
  } finally {
    sys.native.close(base);
  }
}

/**
 * A mark on a layer's root that is none of kernel overlayfs's speaks of a feature we do not know, so
 * the tree may mean something else than we would show. Throws a UserError.
 */
function checkFeatures(ov: Overlay, layer: Layer): void {
  const unknown = unknownMark(ov.sys, layer.root, ov.markPrefix);
  if (unknown === undefined) return;
  if (typeof unknown === 'number') throw unreadable(layer, unknown);
  throw new UserError(
    `layer ${display(layer.path)} has the mark ${display(unknown)} of an unknown feature: mount it with what wrote it, or remove that xattr`,
  );
}

const unreadable = ({ path }: Layer, code: number): UserError =>
  new UserError(`cannot read the marks of layer ${display(path)}: ${errnoText(code)}`);

/** The root merges the roots of all layers, down to the first opaque one. */
function addRoot(ov: Overlay, layers: readonly Layer[]): void {
  const places: number[] = [];
  let opaque = false;
  let top: DirMarks | undefined;
  for (const layer of layers) {
    if (opaque) break;
    checkFeatures(ov, layer);
    const marks = dirMarks(ov.sys, layer.root, '.', layer !== ov.upper || ov.plain, ov.markPrefix);
    if (typeof marks === 'number') throw unreadable(layer, marks);
    opaque = marks.opaque;
    if (marks.xwhiteouts) ov.xwhiteouts.add(layer.id);
    if (layer === ov.upper) top = marks;
    else {
      const place = ov.lowers.addPlace(layer.id, 0, '', placeFlags(marks));
      ov.lowers.setStamp(place, layer.inoLo, layer.stamp);
      places.push(place);
    }
  }
  const { table } = ov;
  table.setLower(ROOT, ov.lowers.addStack(places));
  if (ov.upper) {
    table.set(ROOT, F_UPPER);
    if (top?.impure === true) table.set(ROOT, F_IMPURE);
    if (top?.xwhiteouts === true) table.set(ROOT, F_XWHITEOUTS);
  }
  // The root shows the topmost layer's number, also when that is the upper (ovl_get_root).
  const first = layers[0];
  table.setIno(ROOT, first.inoLo, xinoHi(ov, first.id, first.inoHi));
  table.setMode(ROOT, S_IFDIR);
  const { attrs } = ov.sys.stats;
  const code = ov.stat(ROOT, attrs);
  if (code < 0) throw new UserError(`cannot examine ${first.path}: ${errnoText(code)}`);
  table.setMode(ROOT, attrs.mode);
}
