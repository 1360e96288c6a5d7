import type { IdSpec } from './shown/ids.js';

/**
 * What one mount is made of: the parsed, checked, frozen result of the options. Paths are
 * absolute, bytes as latin1.
 */
export interface OverlaySpec {
  /** Lower layers, topmost first. */
  readonly lowers: readonly string[];
  /** Data-only layers, topmost first: not merged, only reached by redirects. Absent: none. */
  readonly dataLayers?: readonly string[];
  /** Absent: the mount is read-only. */
  readonly upper?: string;
  readonly work?: string;
  /** `ro`: no change reaches the upper, also when there is one (it is then the topmost lower). */
  readonly readOnly: boolean;
  /** The upper is only read, and another mount changes it meanwhile (live.ts). */
  readonly live?: true;
  /**
   * Nothing is synced: copy-up is not, and FSYNC is answered without work. `volatile` leaves its
   * marker, `fsync=0` does not.
   */
  readonly durability: 'sync' | 'fsync=0' | 'volatile';
  /**
   * Who moves the data: `cached`, the kernel's page cache of this mount, filled by requests;
   * `passthrough`, the layers' files themselves (no writeback then); `auto`: plane.ts decides.
   */
  readonly data: 'cached' | 'passthrough' | 'auto';
  /** Kernel writeback cache; ignored (off) when read-only. */
  readonly writeback: boolean;
  /**
   * `plain`: the upper holds no marks but whiteouts and `opaque`, for readers that know no others.
   * Absent: where the upper lies decides (format.ts).
   */
  readonly format?: 'plain' | 'overlay' | undefined;
  /**
   * Who the objects belong to whose owners have no ID in this user namespace. `nobody`: to the overflow user,
   * without set-ID bits, as fuse-overlayfs has it. Absent: to none, and nothing about them changes, as in
   * overlayfs; or where the upper lies decides (format.ts).
   */
  readonly ownerless?: 'nobody' | undefined;
  /**
   * The `redirect` xattr: `on` writes it, so that a directory that has lowers can be renamed (else
   * EXDEV); `follow` only reads it; with `nofollow` what carries one is refused with EPERM, and none is written.
   */
  readonly redirectDir: 'on' | 'follow' | 'nofollow';
  /** A change of metadata copies no data: the `metacopy` xattr says where it is. */
  readonly metacopy: boolean;
  /**
   * The index, with which the names of a lower file stay one file when it is changed: `on` refuses
   * to mount where it cannot be kept, `auto` does without.
   */
  readonly index: 'on' | 'off' | 'auto';
  /** How inode numbers of several file systems are told apart (xino.ts); absent: `auto`. */
  readonly xino?: 'on' | 'off' | 'auto';
  /** Marks are read and written in the `user.` namespace alone; absent: where `trusted.` cannot be written. */
  readonly userxattr?: true;
  /** How owners are shown; absent: as they are on disk. */
  readonly ids?: IdSpec;
  /** false: no POSIX ACLs; absent: they are enforced. */
  readonly acl?: boolean;
  /** The caller has made the mount, and may have left out that the kernel checks permissions. */
  readonly givenMount?: true;
  /** Owner, mode and type are kept in an xattr: 1 in `security.`, 2 in `user.` (overrides.ts). */
  readonly xattrPermissions?: 1 | 2;
  /** One line per request on the engine's stderr. */
  readonly debug: boolean;
}
