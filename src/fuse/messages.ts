/**
 * What the host's main thread and an engine thread say to each other (worker_threads messages).
 * The engine thread sits in `Native.next`; whoever posts to it also calls `Native.wake` on its
 * eventfd, and it takes its messages with receiveMessageOnPort.
 */
import type { OverlaySpec } from '../overlay/spec.js';

export type ToEngine =
  /** Open and check the layers; answered by prepared or failed. `mount` is the host's number for it. */
  | { readonly kind: 'prepare'; readonly mount: number; readonly spec: OverlaySpec }
  /** The device is mounted on the mountpoint: serve it. Answered by live (INIT done) or failed. */
  | { readonly kind: 'serve'; readonly mount: number; readonly deviceFd: number }
  /** Give up a prepared mount that will not be served (mount(2) failed). Answered by ended. */
  | { readonly kind: 'abandon'; readonly mount: number }
  | { readonly kind: 'stats'; readonly mount: number; readonly query: number }
  /** Leave the loop and end the thread; only when it serves nothing. */
  | { readonly kind: 'stop' };

export type FromEngine =
  /** First message of a thread. */
  | { readonly kind: 'ready'; readonly wakeFd: number }
  | {
      readonly kind: 'prepared';
      readonly mount: number;
      /** st_dev of the upper and the lowers, to keep a mount off the thread that serves its own layers. */
      readonly devices: readonly string[];
    }
  | { readonly kind: 'live'; readonly mount: number }
  /** One clear sentence: what, which path, what to do. Nothing is left open. */
  | { readonly kind: 'failed'; readonly mount: number; readonly message: string }
  /** Unmounted, aborted or abandoned; every descriptor is closed. */
  | { readonly kind: 'ended'; readonly mount: number }
  | { readonly kind: 'stats'; readonly query: number; readonly stats: MountStats };

export interface MountStats {
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
  /** Passthrough plane: files open now, opens so far, backing files known to the kernel now, and how often one was registered. */
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
  readonly indexCache: Hits;
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
