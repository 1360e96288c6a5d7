/** The content store of an engine, as a differ needs it. */

/** On whose behalf a request is made. */
export interface Caller {
  readonly namespace: string;
  /** What keeps new content from the garbage collector; without one it gets a lease of its own. */
  readonly lease: string | undefined;
  readonly signal: AbortSignal;
}

/** A blob and what it is (an OCI descriptor). */
export interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface Upload {
  write(bytes: Uint8Array): Promise<void>;
  /** Publishes what was written, which must have this digest; fine when it is there already. */
  commit(digest: string, labels: Readonly<Record<string, string>>): Promise<void>;
  /** Gives up what was written. Never rejects. */
  abandon(): Promise<void>;
}

export interface Content {
  /** The bytes of a blob. */
  read(digest: string, caller: Caller): AsyncIterable<Uint8Array>;
  /** Begins an upload under `ref`, or under a name of its own when that is empty. */
  upload(ref: string, caller: Caller): Promise<Upload>;
}
