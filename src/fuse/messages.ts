/**
 * The messages between the host's main thread and an engine thread (worker_threads). The engine thread waits
 * in `Native.next`. So a sender also calls `Native.wake` on its eventfd, and the engine thread takes the
 * messages with receiveMessageOnPort.
 */
import type { OverlaySpec } from '../overlay/spec.js';
import type { MountStats } from '../wire/stats.js';

export type ToEngine =
  /**
   * Look whether the mount may be made: `question` is for the function that the thread was started with
   * (host/engineMain.ts). Answered by checked or failed.
   */
  | { readonly kind: 'check'; readonly mount: number; readonly question: unknown }
  /** Open and check the layers; answered by prepared or failed. `mount` is the host's number for it. */
  | { readonly kind: 'prepare'; readonly mount: number; readonly spec: OverlaySpec }
  /** The device is mounted on the mountpoint: serve it. Answered by live (INIT done) or failed. */
  | { readonly kind: 'serve'; readonly mount: number; readonly deviceFd: number }
  /** Give up a prepared mount that will not be served (mount(2) failed). Answered by ended. */
  | { readonly kind: 'abandon'; readonly mount: number }
  | { readonly kind: 'stats'; readonly mount: number; readonly query: number }
  /** Which numbers nodes have; answered by nodes. */
  | { readonly kind: 'nodes'; readonly mount: number }
  /** Close the connection of a mount that is served. Answered by ended. */
  | { readonly kind: 'end'; readonly mount: number }
  /** Leave the loop and end the thread; only when it serves nothing. */
  | { readonly kind: 'stop' };

export type FromEngine =
  /** First message of a thread. */
  | { readonly kind: 'ready'; readonly wakeFd: number }
  | { readonly kind: 'checked'; readonly mount: number; readonly answer: unknown }
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
  /** No node of the mount has a higher number than `last`. */
  | { readonly kind: 'nodes'; readonly mount: number; readonly last: number }
  | { readonly kind: 'stats'; readonly query: number; readonly stats: MountStats };
