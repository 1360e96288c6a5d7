/** The shape of what `stratafs stats` reports of a live mount. */

export interface MountStats {
  /** The FUSE protocol that the kernel and the engine agreed on: `7.45`. */
  readonly protocol: string;
  /** Requests by opcode name. */
  readonly requests: Readonly<Record<string, number>>;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** By opcode name, of the requests that were answered: the server's part of what their callers waited. */
  readonly latency: Readonly<Record<string, Latency>>;
  /** Objects copied up, and the bytes of data that took (holes not counted apart). */
  readonly copyUps: number;
  readonly copiedBytes: number;
  /** The data plane. */
  readonly data: 'cached' | 'passthrough';
  /**
   * Passthrough plane: files open now, opens so far, backing files known to the kernel now, and
   * how often one was registered.
   */
  readonly open?: number;
  readonly opens?: number;
  readonly backings?: number;
  readonly backingsRegistered?: number;
  readonly inodes: number;
  /** Descriptors kept open by the engine thread, for all its mounts. */
  readonly fds: number;
  /** Bytes of the inode arena in use, and by how many inodes that is. */
  readonly arena: number;
  readonly arenaPerInode: number;
  /** Names looked up, and directories listed, in a merged listing that was kept; the mount's. */
  readonly listingCache: Hits;
  /** Directories whose lowers were read for the mount, and those that had been, for it or another mount of them. */
  readonly listings: { readonly read: number; readonly shared: number };
  /** Descriptors that were still open when they were needed; of all mounts of the engine thread. */
  readonly fdCache: Hits;
}

export interface Hits {
  readonly hits: number;
  readonly misses: number;
}

export interface Latency {
  readonly requests: number;
  /** Microseconds. */
  readonly mean: number;
  /** Microseconds, interpolated within a bucket. */
  readonly p50: number;
  readonly p99: number;
  /** Requests that took under 1 µs, then under 2, 4, 8 µs and so on, up to the last one that has any. */
  readonly buckets: readonly number[];
}
