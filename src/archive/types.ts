/**
 * Arguments and results of the archive's functions. Names, paths, link targets, and names and values of
 * xattrs are bytes as latin1 strings, one character a byte; nothing is ever decoded.
 */

/** Bytes in order: a file, a request's body, a blob of the content store. */
export type Source = AsyncIterable<Uint8Array>;

export type EntryType = 'file' | 'dir' | 'symlink' | 'link' | 'char' | 'block' | 'fifo';

/** A range of a sparse file that has data; all else is a hole. Ranges ascend and do not overlap. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** One member of an archive, its extended headers already applied. */
export interface Entry {
  readonly type: EntryType;
  /** As the archive has it, without slashes at its end. */
  readonly name: string;
  /** Target of a symlink, or the name of the member that a hard link is another name of; else "". */
  readonly target: string;
  /** Permission bits, 0 to 07777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of the file, holes included; at most 2^53 - 1. 0 for what is no file. */
  readonly size: number;
  /** Modification time: whole seconds since 1970, negative before, and nanoseconds (0 to 999999999) on top of them. */
  readonly mtime: number;
  readonly mtimeNs: number;
  /** Of a device; else 0. */
  readonly major: number;
  readonly minor: number;
  /** By full name, such as `user.a`, `security.capability`, `system.posix_acl_access` (the binary form). */
  readonly xattrs: ReadonlyMap<string, string>;
  /** Of a sparse file; undefined: all is data. */
  readonly extents: readonly Extent[] | undefined;
}

/** Bounds of what an archive may ask for. Whatever is beyond them is refused in one sentence. */
export interface Limits {
  /** Of the archive when it is unpacked, in bytes: 128 GiB. */
  readonly bytes: number;
  /** Members: 10,000,000. */
  readonly entries: number;
  /** Of one extended header or long name, in bytes: 4 MiB. Holds a full set of xattrs (64 KiB each). */
  readonly header: number;
  /** Ranges of one sparse file: 1,000,000. */
  readonly extents: number;
  /** Components of one name: 1,000. */
  readonly depth: number;
}

/** `count` IDs of the archive from `inside` on are those from `outside` on, on disk. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

export interface IdMap {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** Which xattrs are taken along; called with the full name. */
type XattrFilter = (name: string) => boolean;

/** `sha256:` and 64 hexadecimal digits. */
export type Digest = string;

export type Compression = 'none' | 'gzip' | 'zstd';

/**
 * What becomes of whiteouts (OCI image specification, "Layer Filesystem Changeset"):
 * - `overlay`: 0:0 devices and `opaque=y`, where no device can be made the xwhiteout form. What kernel
 *   overlayfs and stratafs read; the archive's own `overlay.*` xattrs and 0:0 devices are escaped, so
 *   that no archive can hide or redirect anything by them.
 * - `aufs`: they stay files named `.wh.…`, as containers/storage wants them for a mount program.
 * - `apply`: what they name is removed from the tree; for a tree that lower layers are in already.
 */
type WhiteoutForm = 'overlay' | 'aufs' | 'apply';

export interface UnpackOptions {
  /**
   * An existing directory. Empty, unless whiteouts are applied: then it is changed in place. It becomes
   * the layer's root: an entry for `.` sets its owner, mode, times and xattrs.
   */
  readonly root: string;
  /** `overlay` when absent. */
  readonly whiteouts?: WhiteoutForm;
  /** Marks of overlay are in `user.overlay.*` (mount option `userxattr`). */
  readonly userxattr?: boolean;
  /**
   * The layers below, topmost first: a directory that the archive implies but has not, the root too, is
   * made as it is there.
   */
  readonly lowers?: readonly string[];
  /** All, when absent. */
  readonly xattrs?: XattrFilter;
  /** From the archive's IDs to those on disk; an ID that is in no range is refused. */
  readonly ids?: IdMap;
  /** True: everything belongs to who unpacks it, for those who may not chown (`ignore_chown_errors`). */
  readonly ignoreOwners?: boolean;
  /** What the bytes must be; anything else is refused. */
  readonly expect?: {
    /** Of the bytes as they come. */
    readonly digest?: Digest | undefined;
    readonly size?: number | undefined;
    /** Of the tar inside. */
    readonly diffId?: Digest | undefined;
  };
  readonly limits?: Partial<Limits>;
  /** False: do not wait until what was written is on the disk. */
  readonly sync?: boolean;
  readonly signal?: AbortSignal;
}

export interface Unpacked {
  /** Digest of the tar. */
  readonly diffId: Digest;
  /** Bytes of the tar. */
  readonly size: number;
  /** Digest and number of the bytes as they came. */
  readonly digest: Digest;
  readonly compressedSize: number;
  readonly compression: Compression;
  /** Members of the archive. */
  readonly entries: number;
  /** Bytes of all files of the archive, a file with several names once, holes counted. */
  readonly dataSize: number;
  /** What this file system or user could not keep, one sentence for each kind; usually none. */
  readonly warnings: readonly string[];
}

/**
 * Whose archive it is to be like, byte for byte. All but `full` have whole seconds and no entry for the
 * root. What each takes along of xattrs:
 * - `full`: everything, ACLs also in the form of GNU tar and bsdtar; nanoseconds.
 * - `docker`: `security.capability` and `user.*`, as Docker 28 (moby/go-archive) writes a layer of its
 *   overlay2 driver; Docker itself leaves `user.*` out.
 * - `containers`: the same as containers/storage (podman, buildah) and older Docker: with the file's type in its mode.
 * - `containerd`: `security.capability`.
 */
export type Style = 'full' | 'docker' | 'containers' | 'containerd';

export type PackSource =
  /** A directory tree; nothing in it has a meaning of its own. */
  | { readonly kind: 'tree'; readonly root: string }
  /**
   * What an upper (or one layer) changes, against the lowers it was written over (topmost first):
   * redirects are followed and metadata-only copies get their data. Without lowers it is taken for
   * whole, and refused where it is not.
   */
  | {
      readonly kind: 'changes';
      readonly upper: string;
      readonly lowers?: readonly string[];
      readonly dataLayers?: readonly string[];
      readonly userxattr?: boolean;
    }
  /** What a mount of these layers (topmost first) would show. */
  | {
      readonly kind: 'union';
      readonly layers: readonly string[];
      readonly dataLayers?: readonly string[];
      readonly userxattr?: boolean;
    };

export interface PackOptions {
  /** `full` when absent. */
  readonly style?: Style;
  /** Further restricts what the style takes along. */
  readonly xattrs?: XattrFilter;
  /** From the IDs on disk to the archive's; an ID that is in no range is refused. */
  readonly ids?: IdMap;
  /** Seconds since 1970: no later time is written (reproducible-builds.org, SOURCE_DATE_EPOCH). */
  readonly sourceDateEpoch?: number;
  /** Files with holes are written in the form PAX sparse 1.0; Docker's and containerd's readers take it. */
  readonly sparse?: boolean;
  readonly compression?: 'none' | 'gzip';
  /** Of gzip, 1 to 9; 6 when absent. */
  readonly level?: number;
  readonly signal?: AbortSignal;
}

export interface Packed {
  readonly diffId: Digest;
  readonly size: number;
  /** Of what was written; the same as the diff ID when it is not compressed. */
  readonly digest: Digest;
  readonly compressedSize: number;
  readonly entries: number;
  /** What could not be written, one sentence for each kind: sockets, for example. */
  readonly warnings: readonly string[];
}

/** Takes the bytes of an archive; a promise holds the archive back until it is settled. */
export type Sink = (bytes: Uint8Array) => Promise<void> | void;
