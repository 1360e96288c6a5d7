/** One mount as the engine thread serves it. */
import type { ReadAhead } from '../overlay/access/readAhead.js';
import type { Overlay } from '../overlay/overlay.js';
import { IN, OUT } from '../sys/memory.js';
import { IN_HEADER, OUT_HEADER } from '../protocol/layout.js';
import type { RequestCaller } from './caller.js';

export interface Served {
  readonly ov: Overlay;
  /** Who sent the request being served. */
  readonly caller: RequestCaller;
  /** The host's number for the mount. */
  readonly mount: number;
  slot: number;
  setxattrExt: boolean;
  /** The node whose capability a request took away, until it is asked for again; 0: none. */
  uncapped: number;
  /** Requests that wait for a copy, by their number. */
  readonly parked: Map<number, Parked>;
  /** Those of them whose caller got a signal that did not end it. */
  readonly interrupted: Set<number>;
  readonly ahead: ReadAhead;
  /** When the request that is served again was read (Native.park); undefined for a fresh one. */
  begun: number | undefined;
  /**
   * How often it was looked whether the mount is quiet (tidy.ts), 0: there is nothing to tidy;
   * and what had been served.
   */
  looks: number;
  served: number;
  /** When that was, by performance.now(). */
  lookedAt: number;
  /** Protocol minor version; 0 before INIT, and after one that failed. */
  minor: number;
  /** Why INIT failed: a sentence. */
  failure?: string | undefined;
}

export interface Parked {
  readonly opcode: number;
  readonly begun: number;
  readonly pid: number;
  /** Waits no longer. Absent: it has to wait, as a truncation does that is under way. */
  readonly leave: (() => void) | undefined;
}

/** Where a request's own struct begins, and where a reply's body goes. */
export const BODY = IN + IN_HEADER.size;
export const REPLY = OUT + OUT_HEADER.size;

/** A word of the request's struct. */
export const word = (s: Served, offset: number): number => s.ov.sys.u32[(BODY + offset) >> 2];

/** The NUL-terminated name `offset` bytes into the request's body. */
export const nameAt = (s: Served, offset: number): string => s.ov.sys.cstring(BODY + offset);
