/**
 * The lower half of a lookup (the loop of ovl_lookup over ovl_lookup_layer): looks for one name in the
 * lowers, topmost first, and follows whiteouts, opaque directories, redirects and metadata-only copies.
 */
import { E } from '../../base/errno.js';
import { display } from '../../base/bytes.js';
import { isDir, isReg } from '../../base/mode.js';
import { ROOT } from '../../protocol/flags.js';
import { noNameBelow } from '../../layer/absence.js';
import { dirMarks, dotWhiteout, isDeviceWhiteout } from '../../layer/whiteout.js';
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_LAYER } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import { SPOILS, spoil, type Stat } from '../../sys/stat.js';
import { Found } from '../hit.js';
import {
  fileRedirect,
  hasMetacopy,
  mayHoldCopies,
  placeFlags,
  refusesMetacopy,
} from './lowerMarks.js';
import { PLACE_TOUCHED, PLACE_XWHITEOUTS } from '../inodes/places.js';
import { stampOf } from '../../layer/layer.js';
import { foundLower, isSparse, showIno } from './identity.js';
import type { Overlay } from '../overlay.js';
import { isLowerXWhiteout } from './isWhiteout.js';

/** Which lowers of the parent's stack are asked. `listed`: a listing has told, so a miss hides nothing. */
export interface Range {
  readonly first: number;
  readonly last: number;
  readonly listed: boolean;
}
export const EVERYWHERE: Range = { first: -1, last: Infinity, listed: false };

/** A lookup on its way down. */
interface Walk {
  readonly ov: Overlay;
  /** The name in the lowers still to come; an absolute path when it starts with "/". */
  name: string;
  /** The stack being walked, and the position in it. */
  stack: number;
  at: number;
  range: Range;
  /** The object above is a metadata-only copy: a regular file is looked for. */
  metacopy: boolean;
  /** The last metadata-only copy in a lower says by an absolute path where its data is. */
  absolute: boolean;
  /** The upper's metadata-only copy has its inode number. */
  numbered: boolean;
  /** The layer (its id) in which a directory has a redirect that no layer has answered yet; 0: none. */
  owed: number;
  stop: boolean;
}

/** What the upper's object of a name says about the lowers. */
export interface Below {
  /** The name to look for instead; '' for none. */
  readonly redirect: string;
  /** The upper has a metadata-only copy: its data is looked for. */
  readonly metacopy: boolean;
}

/** The upper has nothing of that name, or a directory without a redirect. */
export const SAME_NAME: Below = { redirect: '', metacopy: false };

/** Continues a lookup below `parent`; `ov.hit` holds what the upper had: nothing, a directory, or a file. */
export function walkLowers(
  ov: Overlay,
  parent: number,
  name: string,
  range: Range,
  { redirect, metacopy }: Below,
): number {
  if (SPOILS) spoil(ov.sys.stats.lower, ov.sys.stats.probe);
  if (redirect !== '' && !follows(ov, name)) return -E.EPERM;
  const walk: Walk = {
    ov,
    name: redirect === '' ? name : redirect,
    stack: ov.table.lower(redirect.startsWith('/') ? ROOT : parent),
    at: redirect === '' ? Math.max(0, range.first) : 0,
    range: redirect === '' ? range : EVERYWHERE,
    metacopy,
    absolute: false,
    numbered: false,
    owed: redirect === '' || metacopy ? 0 : (ov.upper?.id ?? 0),
    stop: false,
  };
  const { lowers } = ov;
  while (!walk.stop && walk.at < lowers.count(walk.stack) && walk.at <= walk.range.last) {
    const code = askLayer(walk);
    if (code < 0) return code;
    walk.at++;
  }
  if (walk.owed !== 0) return noDirectory(ov, parent, name, walk.owed);
  if (!walk.metacopy || ov.hit.data) return 0;
  if (ov.data && walk.absolute) {
    ov.hit.data = ov.data.file(walk.name);
    return 0;
  }
  log(`no data found for the metadata-only copy ${display(name)}`);
  // With metacopy=off overlayfs refuses every such copy; those that can be read are shown here.
  return ov.spec.metacopy ? -E.EIO : -E.EPERM;
}

/**
 * A redirect stands only where a lower had the directory: without one the layers are not those it was
 * written above, and an empty directory in place of its data is what would be seen of that.
 */
function noDirectory(ov: Overlay, parent: number, name: string, layer: number): number {
  const { table } = ov;
  let path = name;
  for (let node = parent; node > ROOT; node = table.parent(node)) {
    path = `${table.name(node)}/${path}`;
  }
  const where = display(ov.layer(layer).path);
  log(`no lower layer has what the directory /${display(path)} of ${where} is redirected to`);
  return -E.EIO;
}

/** Following redirects is like following a symlink into the layers without asking for permission. */
function follows(ov: Overlay, name: string): boolean {
  if (ov.spec.redirectDir !== 'nofollow' && !ov.userxattr) return true;
  const why = ov.userxattr ? 'userxattr' : 'redirect_dir=nofollow';
  log(`refusing to follow the redirect of ${display(name)}: mounted with ${why}`);
  return false;
}

function askLayer(walk: Walk): number {
  const { ov } = walk;
  const place = ov.lowers.place(walk.stack, walk.at);
  // There may be more layers than descriptors.
  const mark = ov.borrowing();
  const dir = ov.lowerDir(place);
  let code = dir;
  if (dir >= 0) {
    const { name } = walk;
    code = name.startsWith('/')
      ? askPath(walk, place, dir)
      : askName(walk, { place, dir, name, path: name, prefix: undefined });
  }
  ov.giveBack(mark);
  return code;
}

/** Walks the components of an absolute redirect below a layer's root. */
function askPath(walk: Walk, root: number, rootDir: number): number {
  const { sys } = walk.ov;
  const path = walk.name.slice(1).split('/');
  const prefix: string[] = [];
  let dir = rootDir;
  try {
    for (const [depth, name] of path.slice(0, -1).entries()) {
      const passed = passThrough(walk, dir, name, prefix);
      if (passed <= 0) return passed;
      // Also when this layer has no more of the path, the layers below are asked by its new name.
      walk.name = `/${[...prefix, ...path.slice(depth + 1)].join('/')}`;
      const next = sys.open(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_LAYER);
      if (next < 0) return next;
      if (dir !== rootDir) sys.native.close(dir);
      dir = next;
    }
    const name = path[path.length - 1];
    return askName(walk, { place: root, dir, name, path: path.join('/'), prefix });
  } finally {
    if (dir !== rootDir) sys.native.close(dir);
  }
}

/** One directory on an absolute redirect's way: 1 to go on, 0 when this layer has none, -errno. */
function passThrough(walk: Walk, dir: number, name: string, prefix: string[]): number {
  const { ov } = walk;
  const { lower } = ov.sys.stats;
  const code = ov.sys.statName(dir, name, lower);
  if (code < 0 && !noNameBelow(code)) return code;
  if (code >= 0 && !isDir(lower.mode)) {
    walk.stop = true;
    return 0;
  }
  // `.wh.NAME` hides what is below, beside a directory of that name too.
  const hides = dotWhiteout(ov.sys, dir, name);
  if (hides !== 0) walk.stop = true;
  if (code < 0 || hides < 0) return Math.min(hides, 0);
  const marks = dirMarks(ov.sys, dir, name, true, ov.markPrefix);
  if (typeof marks === 'number') return marks;
  if (marks.opaque) walk.stop = true;
  // It starts again at the roots below, whatever the way to it was (ovl_check_redirect).
  else if (marks.redirect.startsWith('/') && hides === 0) walk.stop = false;
  extend(prefix, name, marks.redirect);
  return 1;
}

/** What the layers below call the path so far. */
function extend(prefix: string[], name: string, redirect: string): void {
  if (redirect.startsWith('/')) prefix.splice(0, prefix.length, ...redirect.slice(1).split('/'));
  else prefix.push(redirect === '' ? name : redirect);
}

/** One name in one directory of one layer. */
interface Question {
  /** The place a found object is kept under, and its path there. */
  readonly place: number;
  readonly path: string;
  readonly dir: number;
  readonly name: string;
  /** On an absolute redirect: what the layers below call the directory. */
  readonly prefix: string[] | undefined;
}

function askName(walk: Walk, q: Question): number {
  const { ov } = walk;
  const { hit, sys } = ov;
  const stat = hit.found === Found.None ? hit.stat : sys.stats.lower;
  const code = sys.statName(q.dir, q.name, stat);
  if (noNameBelow(code)) {
    if (walk.range.listed || isBottom(walk)) return 0;
    const hides = dotWhiteout(sys, q.dir, q.name);
    if (hides > 0) walk.stop = true;
    return Math.min(hides, 0);
  }
  if (code < 0) return code;
  const { mode } = stat;
  const hidden = isDeviceWhiteout(stat) ? 1 : isLowerXWhiteout(ov, q.place, q.dir, q.name, stat);
  if (hidden < 0) return hidden;
  // Below a directory only directories count, below a metadata-only copy only regular files.
  const foreign = walk.metacopy ? !isReg(mode) : hit.found !== Found.None && !isDir(mode);
  if (hidden > 0 || foreign) {
    walk.stop = true;
    return 0;
  }
  const told = ov.show(ov.lowers.layerOf(q.place), q.dir, q.name, stat);
  if (told < 0) return told;
  return isDir(mode) ? addDirectory(walk, q, stat) : addFile(walk, q, stat);
}

const isBottom = (walk: Walk): boolean => walk.at + 1 >= walk.ov.lowers.count(walk.stack);

/** `stat`: the object's attributes, in `hit.stat` when it is the topmost one. */
function addFile(walk: Walk, q: Question, stat: Stat): number {
  const { ov } = walk;
  const { hit } = ov;
  const first = hit.found === Found.None;
  if (first) foundLower(ov, q.place);
  else if (hit.found === Found.Upper && !walk.numbered) numberCopy(walk, q.place, stat);
  const suspect =
    isReg(stat.mode) && (q.prefix !== undefined || mayHoldCopies(ov, q.place) || isSparse(stat));
  const metacopy = suspect ? hasMetacopy(ov, q.dir, q.name) : 0;
  if (metacopy < 0) return metacopy;
  if (metacopy > 0) {
    const redirect = fileRedirect(ov, q.dir, q.name);
    if (typeof redirect === 'number') return redirect;
    const deferred = leadsToData(ov, q.place, redirect);
    if (!deferred && refusesMetacopy(ov, q.name)) return -E.EPERM;
    walk.metacopy = true;
    walk.absolute = redirect.startsWith('/');
    if (walk.absolute) walk.stop = deferred;
    if (!deferred) return goOn(walk, q, redirect);
    walk.name = redirect;
    return 0;
  }
  if (walk.metacopy) hit.data = { parent: q.place, name: q.path };
  walk.stop = true;
  return 0;
}

/**
 * Only data-only layers are left for `redirect`. Their data may be used whatever is said of redirects and copies:
 * whoever mounts names them for that alone (ovl_lookup).
 */
function leadsToData(ov: Overlay, place: number, redirect: string): boolean {
  if (!ov.data || !redirect.startsWith('/')) return false;
  const { lowers, table } = ov;
  const stack = table.lower(ROOT);
  const last = lowers.place(stack, lowers.count(stack) - 1);
  return lowers.layerOf(last) === lowers.layerOf(place);
}

/**
 * A metadata-only copy in the upper has the number of the first lower it is found to describe, also
 * where its origin says nothing; but names of one file may have parted (ovl_lookup, ovl_getattr).
 */
function numberCopy(walk: Walk, place: number, stat: Stat): void {
  const { ov } = walk;
  walk.numbered = true;
  const alone = stat.nlink === 1;
  if (ov.hit.index === '' && alone) showIno(ov, ov.lowers.layerOf(place), stat);
}

function addPlaceOf(ov: Overlay, q: Question, stat: Stat, flags: number): void {
  const stamp = stampOf(stat);
  ov.hit.dirs.push({ parent: q.place, name: q.path, flags, ino: stat.inoLo, stamp });
}

function addDirectory(walk: Walk, q: Question, stat: Stat): number {
  const { ov } = walk;
  const { hit } = ov;
  walk.owed = 0;
  if (hit.found === Found.None) foundLower(ov, q.place);
  else if (hit.dirs.length === 0) showIno(ov, ov.lowers.layerOf(q.place), stat);
  // Marks matter for what lies below, and for xwhiteouts, which the parent's mark announces.
  const inRoot = ov.lowers.parentOf(q.place) === 0;
  if (isBottom(walk) && !inRoot && !ov.lowers.marked(q.place, PLACE_XWHITEOUTS | PLACE_TOUCHED)) {
    addPlaceOf(ov, q, stat, 0);
    return 0;
  }
  const more = walk.at < walk.range.last;
  const marks = dirMarks(ov.sys, q.dir, q.name, more, ov.markPrefix);
  if (typeof marks === 'number') return marks;
  const inherited = ov.lowers.marked(q.place, PLACE_TOUCHED) || q.prefix !== undefined;
  const flags = placeFlags(marks) | (inherited ? PLACE_TOUCHED : 0);
  addPlaceOf(ov, q, stat, flags >>> 0);
  // A `.wh.` file beside the directory hides what is below it (OCI image specification).
  const asks = !marks.opaque && !walk.range.listed;
  const covered = asks ? dotWhiteout(ov.sys, q.dir, q.name) : 0;
  if (covered < 0) return covered;
  if (!marks.opaque && covered === 0) {
    if (marks.redirect !== '') walk.owed = ov.lowers.layerOf(q.place);
    if (marks.redirect.startsWith('/')) walk.stop = false;
    return goOn(walk, q, marks.redirect);
  }
  walk.stop = true;
  return 0;
}

/** What the layers below are asked for, after an object with `redirect`. */
function goOn(walk: Walk, q: Question, redirect: string): number {
  if (redirect !== '' && !follows(walk.ov, q.name)) return -E.EPERM;
  if (q.prefix) {
    extend(q.prefix, q.name, redirect);
    walk.name = `/${q.prefix.join('/')}`;
    return 0;
  }
  if (redirect === '') return 0;
  walk.name = redirect;
  walk.range = EVERYWHERE;
  if (!redirect.startsWith('/')) return 0;
  // From here on below the roots of the layers that are left.
  const { lowers, table } = walk.ov;
  const layer = lowers.layerOf(q.place);
  walk.stack = table.lower(ROOT);
  walk.at = 0;
  while (lowers.layerOf(lowers.place(walk.stack, walk.at)) !== layer) walk.at++;
  return 0;
}
