/** Which layer a path of the union comes from, found by looking at the layers from outside. */
import { toLatin1 } from '../base/bytes.js';
import { isDir } from '../base/mode.js';
import { dirMarks, isDeviceWhiteout } from '../layer/whiteout.js';
import { AT_FDCWD, O_NOFOLLOW, O_PATH } from '../sys/constants.js';
import type { Sys } from '../sys/sys.js';
import type { NamedLayer } from './demoLayers.js';

type Found = 'absent' | 'whiteout' | 'opaque' | 'directory' | 'other';

interface Origin {
  /** The layers it is made of, topmost first: one for a file, any number for a merged directory. */
  readonly from: readonly string[];
  /** The layers that have it too, but are hidden. */
  readonly hidden: readonly string[];
  /** What hides them, for a reader; undefined when nothing is hidden. */
  readonly hiddenBy: string | undefined;
}

/** Follows `path` (absolute within the union) down `layers`, topmost first. */
export function originOf(sys: Sys, layers: readonly NamedLayer[], path: string): Origin {
  const from: string[] = [];
  const hidden: string[] = [];
  let hiddenBy: string | undefined;
  for (const layer of layers) {
    const found = foundAt(sys, layer, path);
    if (hiddenBy !== undefined) {
      if (found.kind !== 'absent' && found.kind !== 'whiteout') hidden.push(layer.name);
      continue;
    }
    if (found.kind !== 'absent' && found.kind !== 'whiteout') {
      if (found.kind !== 'other' || from.length === 0) from.push(layer.name);
    }
    hiddenBy = found.kind === 'other' ? `the file in ${layer.name}` : found.ends;
  }
  return { from, hidden, hiddenBy: hidden.length > 0 ? hiddenBy : undefined };
}

/** What a layer has at `path`, and what in it (there or above) ends the search in lower layers. */
function foundAt(
  sys: Sys,
  layer: NamedLayer,
  path: string,
): { kind: Found; ends: string | undefined } {
  let ends: string | undefined;
  let kind: Found = 'absent';
  const parts = path.split('/').filter((part) => part !== '');
  for (let depth = 1; depth <= parts.length; depth++) {
    const here = `/${parts.slice(0, depth).join('/')}`;
    kind = look(sys, layer.path + here);
    if (kind === 'whiteout') ends ??= `the whiteout ${here} in ${layer.name}`;
    if (kind === 'opaque') ends ??= `the opaque directory ${here} in ${layer.name}`;
    if (kind === 'absent' || kind === 'whiteout') return { kind, ends };
  }
  return { kind, ends };
}

function look(sys: Sys, path: string): Found {
  const fd = sys.native.openat2(AT_FDCWD, toLatin1(path), O_PATH | O_NOFOLLOW, 0, 0);
  if (fd < 0) return 'absent';
  try {
    const { probe } = sys.stats;
    sys.statFd(fd, probe);
    if (isDeviceWhiteout(probe)) return 'whiteout';
    if (!isDir(probe.mode)) return 'other';
    const marks = dirMarks(sys, fd, '', true);
    return typeof marks === 'object' && marks.opaque ? 'opaque' : 'directory';
  } finally {
    sys.native.close(fd);
  }
}
