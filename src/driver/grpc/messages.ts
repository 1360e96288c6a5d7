/** The messages of proto/ as protos.ts loads them. */

export type Map = Readonly<Record<string, string>>;

interface Timestamp {
  /** Decimal. */
  readonly seconds: string;
  readonly nanos: number;
}

interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

interface Descriptor {
  readonly media_type: string;
  readonly digest: string;
  /** Decimal. */
  readonly size: string;
}

export interface SnapshotRequest {
  readonly key: string;
  readonly parent: string;
  readonly labels: Map;
}

export interface CommitRequest extends SnapshotRequest {
  readonly name: string;
}

interface SnapshotInfo {
  readonly name: string;
  readonly labels: Map;
}

export interface UpdateRequest {
  readonly info: SnapshotInfo | null;
  readonly update_mask: { readonly paths: readonly string[] } | null;
}

export interface ListRequest {
  readonly filters: readonly string[];
}

export interface ApplyRequest {
  readonly diff: Descriptor | null;
  readonly mounts: readonly Mount[];
  readonly payloads: Readonly<Record<string, unknown>>;
  readonly sync_fs: boolean;
}

export interface DiffRequest {
  readonly left: readonly Mount[];
  readonly right: readonly Mount[];
  readonly media_type: string;
  readonly ref: string;
  readonly labels: Map;
  readonly source_date_epoch: Timestamp | null;
}

export interface ContentInfo {
  readonly digest: string;
  readonly size: string;
  readonly labels: Map;
}

export interface WriteResponse {
  readonly action: 'STAT' | 'WRITE' | 'COMMIT';
  readonly offset: string;
  readonly digest: string;
}
