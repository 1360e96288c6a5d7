/**
 * The snapshotter: what an engine asks of its storage. Behaviour only; how a request comes over a
 * socket is `grpc/`. The meaning is that of containerd's Go interface (core/snapshots/snapshotter.go).
 *
 * A **snapshot** is a state of a file system. It has a name (a *key* while it is active), at most one
 * parent, labels, and one of three kinds:
 *
 *     prepare ──► active ──commit──► committed ◄── parent of ── active, view
 *     view    ──► view
 *     every kind ──remove──► gone (a committed one only when it is nobody's parent)
 *
 * - **Active**: a writable file system. It begins with the content of its parent, or empty. Its
 *   changes are kept in a directory of its own, the upper.
 * - **View**: the content of its parent, read-only. It is never committed.
 * - **Committed**: the upper of what was active, from now on a layer that never changes. It has the
 *   parent that the active snapshot had. The key is gone, the name is new: created and updated are
 *   the time of the commit, and the labels are those of the commit alone.
 *
 * To **import a layer**, a client prepares a snapshot over the layer below, unpacks the archive in it,
 * and commits it, usually under the chain ID. To **run a container**, it prepares a snapshot over the
 * image's topmost layer, mounts what `prepare` or `mounts` returned, and removes it afterwards. To
 * **compute a diff**, it makes a view of the parent and compares it with the mounts of the child.
 *
 * All names and keys share one space. A snapshot is whole or it does not exist: a call that fails, or
 * a process that is killed in it, leaves what was there before.
 */
import { UserError } from '../base/errno.js';

export type Kind = 'active' | 'view' | 'committed';

export type Labels = Readonly<Record<string, string>>;

export interface Info {
  /** The name, or the key of what is active or a view. */
  readonly name: string;
  /** The parent's name; empty without one. */
  readonly parent: string;
  readonly kind: Kind;
  /** Nanoseconds since 1970. */
  readonly created: bigint;
  readonly updated: bigint;
  readonly labels: Labels;
}

/** One mount(2), as containerd's mount package makes it. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** What a snapshot takes itself, without its parents. */
export interface Usage {
  /** Bytes on the disk. */
  readonly size: number;
  /** Objects, a file with several names once. */
  readonly inodes: number;
}

/** Why a request is refused. The names are those of containerd's errdefs package. */
export type Refusal =
  | 'not-found'
  | 'already-exists'
  | 'invalid-argument'
  | 'failed-precondition'
  | 'not-implemented'
  | 'unavailable';

/** A request that cannot be served, with one sentence for the person who made it. */
export class DriverError extends UserError {
  readonly refusal: Refusal;

  constructor(refusal: Refusal, message: string) {
    super(message);
    this.refusal = refusal;
  }
}

export interface Snapshotter {
  /** Rejects with not-found. */
  stat(key: string): Promise<Info>;

  /**
   * Replaces labels: those that `fields` name (`labels.KEY`, or `labels` for all), or all without
   * `fields`. An empty value removes a label. Any other field is invalid-argument.
   */
  update(name: string, labels: Labels, fields: readonly string[]): Promise<Info>;

  /** Of an active snapshot it is counted at each call, and a moment later it may be another. */
  usage(key: string): Promise<Usage>;

  /** What `prepare` or `view` returned, once more; a mount that has ended meanwhile is made again. */
  mounts(key: string): Promise<readonly Mount[]>;

  /**
   * Makes an active snapshot. `parent` must be committed, or empty. already-exists when `key` is in
   * use, and also when the label `containerd.io/snapshot.ref` names a layer that is here already.
   */
  prepare(key: string, parent: string, labels: Labels): Promise<readonly Mount[]>;

  /** Makes a view. */
  view(key: string, parent: string, labels: Labels): Promise<readonly Mount[]>;

  /**
   * Makes the active snapshot `key` the committed snapshot `name`. Its data are on the disk before
   * the name exists. `parent` names a parent for a snapshot that was prepared without one (rebase).
   */
  commit(name: string, key: string, labels: Labels, parent: string): Promise<void>;

  /** failed-precondition while it is a parent. The disk space is free after `cleanup` at the latest. */
  remove(key: string): Promise<void>;

  /** Those that match one of `filters` (containerd's filter language), or all; by name. */
  list(filters: readonly string[]): Promise<readonly Info[]>;

  /** Waits until the disk space of everything removed is free. */
  cleanup(): Promise<void>;
}
