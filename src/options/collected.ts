/** The collected options of one mount, before plan.ts checks whether they go together. */
import type { IdSpec } from '../overlay/shown/ids.js';
import type { OverlaySpec } from '../overlay/spec.js';
import { MS } from './mountFlags.js';

export interface Collected {
  /** The list is read as fuse-overlayfs reads it. */
  readonly asFuseOverlayfs: boolean;
  lowers: string[];
  dataLayers: string[];
  /** The layers were given by `lowerdir`. */
  listed: boolean;
  upper: string | undefined;
  work: string | undefined;
  flags: number;
  propagation: number;
  source: string;
  allowOther: boolean;
  volatile: boolean;
  fsync: boolean;
  data: OverlaySpec['data'];
  /** Undefined: not said. */
  writeback: boolean | undefined;
  /** Undefined: not said. */
  format: OverlaySpec['format'];
  redirectDir: OverlaySpec['redirectDir'];
  /** Undefined: not said. */
  metacopy: boolean | undefined;
  index: OverlaySpec['index'];
  ids: { -readonly [key in keyof IdSpec]: IdSpec[key] };
  squash: boolean;
  userxattr: boolean;
  xattrPermissions: 1 | 2 | undefined;
  xino: OverlaySpec['xino'];
  /** Options that `userxattr` excludes. */
  asked: Set<string>;
  acl: boolean;
  labels: string[];
  /** What an operator should know of the options, a line each. */
  notes: string[];
}

/** What holds where the list says nothing. */
export const nothingSaid = (privileged: boolean, asFuseOverlayfs = false): Collected => ({
  asFuseOverlayfs,
  lowers: [],
  dataLayers: [],
  listed: false,
  upper: undefined,
  work: undefined,
  flags: privileged ? 0 : MS.NOSUID | MS.NODEV,
  propagation: 0,
  source: 'stratafs',
  allowOther: false,
  volatile: false,
  fsync: true,
  data: 'cached',
  writeback: undefined,
  format: undefined,
  redirectDir: 'on',
  metacopy: undefined,
  index: 'auto',
  ids: { uids: [], gids: [], squashUid: undefined, squashGid: undefined },
  squash: false,
  userxattr: false,
  xattrPermissions: undefined,
  xino: undefined,
  asked: new Set(),
  acl: true,
  labels: [],
  notes: [],
});
