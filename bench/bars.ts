/**
 * What stratafs is to hold: the final table of the design, row by row. A bar that a row misses is
 * said in the report; it is no reason to leave the row out.
 */
import {
  FUSE_OVERLAYFS,
  NO_WRITEBACK,
  PASSTHROUGH,
  ROOTLESS,
  ROOTLESS_FUSE_OVERLAYFS,
  STRATAFS,
  USED_HOST,
} from './drivers.js';

export interface Bar {
  /** At most this many times kernel overlayfs. */
  readonly kernel?: number;
  /** At most this many times fuse-overlayfs: 0.5 is "twice as fast". */
  readonly fuseOverlayfs?: number;
  /** At most this, in the row's unit. */
  readonly value?: number;
  /** At most this many times another row of the same driver. */
  readonly flat?: { readonly row: string; readonly times: number };
}

const WARM: Bar = { kernel: 1, fuseOverlayfs: 1 / 2 };
const WARM_DATA: Bar = { kernel: 1.6, fuseOverlayfs: 1 / 4 };
const START: Bar = { kernel: 1.05, fuseOverlayfs: 1 };
const COLD: Bar = { kernel: 1.5, fuseOverlayfs: 1 / 1.5 };
const CREATE: Bar = { kernel: 2.3, fuseOverlayfs: 1 / 2.5 };
const LOWER: Bar = { kernel: 2 };
const LAYER_COUNTS = [20, 128, 500, 2000];
/** "Flat" within what a warm stat varies by itself. */
const FLAT = 1.1;

const BARS: Readonly<Record<string, Bar | undefined>> = {
  'small.stat': WARM,
  'small.open': WARM,
  'small.missing': WARM,
  'find.warm': WARM,
  'ls.warm': WARM,
  'listing.warm': WARM,
  'git.status': WARM,
  'tar.warm': WARM_DATA,
  'grep.warm': WARM_DATA,
  compile: START,
  'python.warm': START,
  'node.warm': START,
  'find.cold': COLD,
  'ls.cold': COLD,
  'tar.cold': COLD,
  'python.cold': COLD,
  'node.cold': COLD,
  untar: CREATE,
  cp: CREATE,
  npm: CREATE,
  apt: CREATE,
  'git.commit': CREATE,
  'git.sed': CREATE,
  append: { kernel: 1, fuseOverlayfs: 1 },
  'write.4k': { kernel: 2.5, fuseOverlayfs: 1 },
  sqlite: { kernel: 1.4, fuseOverlayfs: 1 },
  'rm-upper': { kernel: 1.8, fuseOverlayfs: 1 / 2 },
  rm: { kernel: 2, fuseOverlayfs: 1 / 2 },
  mv: LOWER,
  chmod: LOWER,
  chown: LOWER,
  truncate: LOWER,
  write: { kernel: 1.6, fuseOverlayfs: 1 },
  'read.cold': { kernel: 1, fuseOverlayfs: 1 },
  'read.warm': { kernel: 2.8, fuseOverlayfs: 1 },
  'mount.first': { value: 30 },
  'mount.next': { value: 30 },
  'mounts.10': { value: 1 },
  'mounts.100': { value: 1 },
  'memory.pss': { fuseOverlayfs: 1 },
  // 200 bytes and the name, which has 8.
  'inodes.known': { value: 208, fuseOverlayfs: 1 },
  ...Object.fromEntries(
    LAYER_COUNTS.map((count) => [
      `layers-${count}.warm`,
      { flat: { row: 'layers-1.warm', times: FLAT } },
    ]),
  ),
};

const NATIVE: Bar = { kernel: 1.1, fuseOverlayfs: 1 };
const WITHOUT_WRITEBACK: Bar = { kernel: 1, fuseOverlayfs: 1 / 4 };

/** Where a driver of ours is to hold another bar than the rest. */
const SPECIAL: Readonly<Partial<Record<string, Readonly<Record<string, Bar | undefined>>>>> = {
  [PASSTHROUGH]: { write: NATIVE, 'read.cold': NATIVE, 'read.warm': NATIVE },
  [NO_WRITEBACK]: { 'tar.warm': WITHOUT_WRITEBACK, 'grep.warm': WITHOUT_WRITEBACK },
};

/** Our drivers, whose rows are judged. */
export const JUDGED: readonly string[] = [STRATAFS, USED_HOST, PASSTHROUGH, NO_WRITEBACK, ROOTLESS];

/** The bar of a row for one of our drivers; undefined when there is none. */
export function barOf(row: string, driver: string): Bar | undefined {
  return JUDGED.includes(driver) ? (SPECIAL[driver]?.[row] ?? BARS[row]) : undefined;
}

/** The fuse-overlayfs that a driver is compared with: rootless with rootless. */
export const rivalOf = (driver: string): string =>
  driver.endsWith('rootless') ? ROOTLESS_FUSE_OVERLAYFS : FUSE_OVERLAYFS;

const LIMITS = 2;

/** A bar in words: `≤ 1.5× kernel, ≤ 0.67× fuse-overlayfs`. */
export function barText({ kernel, fuseOverlayfs, value, flat }: Bar, unit: string): string {
  const parts: string[] = [];
  if (kernel !== undefined) parts.push(`≤ ${kernel}× kernel`);
  if (fuseOverlayfs !== undefined) {
    parts.push(`≤ ${Number(fuseOverlayfs.toFixed(LIMITS))}× fuse-overlayfs`);
  }
  if (value !== undefined) parts.push(`≤ ${value} ${unit}`);
  if (flat) parts.push(`≤ ${flat.times}× ${flat.row}`);
  return parts.join(', ');
}
