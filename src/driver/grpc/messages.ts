/** The messages of proto/ as protos.ts loads them. */

export type Map = Readonly<Record<string, string>>;

export interface SnapshotRequest {
  readonly key: string;
  readonly parent: string;
  readonly labels: Map;
}

export interface CommitRequest extends SnapshotRequest {
  readonly name: string;
}

export interface SnapshotInfo {
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
