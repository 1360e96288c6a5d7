/** The words that the bench's parts share. */

/** One way to get a directory to work in. */
export interface Driver {
  readonly name: string;
  /**
   * The command that mounts, with the placeholders {opts} (lowerdir=…,upperdir=…,workdir=…),
   * {lower} (A:B:C), {branches} (unionfs-fuse's form), {upper}, {work} and {mnt}. Absent: no mount,
   * the trial works on a plain copy of the merged tree.
   */
  readonly command?: readonly string[];
  /** 'exits': the mount is live when the command has returned 0. 'stays': it is the server. */
  readonly server: 'exits' | 'stays';
  /** The program that tells its version, for the head of the results. */
  readonly version?: readonly string[];
  /** Not in a run unless `--drivers` names it. */
  readonly onRequest?: boolean;
}

/** One line of the table. Less is better, always. */
export interface Row {
  readonly id: string;
  readonly title: string;
  readonly unit: 'ms' | 'µs' | 'MiB';
}

/** What a trial measured: values by row id, in the row's unit. */
export type Values = Readonly<Record<string, number>>;

/** Requests by workload, then by opcode. */
export type Requests = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface Trial {
  readonly name: string;
  readonly rows: readonly Row[];
  /** Why this driver has no such trial; undefined when it has. */
  readonly refuses?: (driver: Driver) => string | undefined;
  /** Requests do not vary from round to round: the trial runs in the first one only. */
  readonly once?: boolean;
  /** Synchronous on purpose: a trial has its process to itself. */
  readonly run: (context: Context) => Outcome;
}

export interface Outcome {
  readonly values?: Values;
  readonly requests?: Requests;
}

export interface Fixture {
  /** Lower layers, topmost first. */
  readonly lowers: readonly string[];
  /** A plain copy of the merged tree. */
  readonly plain: string;
  /** A tar archive of the tree `include`. */
  readonly archive: string;
  /** Small files, one relative name a line, and as many names that do not exist. */
  readonly smallFiles: string;
  readonly missingNames: string;
  readonly counts: Readonly<Record<'files' | 'tar' | 'small' | 'include' | 'etc', number>>;
  /** Bytes of `big/data`. */
  readonly bigBytes: number;
}

/** A name under which every tree of the fixture answers. */
export const PROBE = 'share';

export interface MountOptions {
  /** No upper. */
  readonly readOnly?: boolean;
  /** Options added to {opts}. */
  readonly extra?: string;
}

export interface Mounted {
  readonly mountpoint: string;
  readonly upper: string;
  /** Start of the mount command to the first answer, ns. */
  readonly ns: number;
  /** The FUSE connection's number; undefined for other file systems. */
  readonly connection: number | undefined;
  /** Processes that hold the connection. */
  readonly servers: readonly number[];
}

/** What a trial has to work with. */
export interface Context {
  readonly driver: Driver;
  readonly fixture: Fixture;
  readonly repository: string;
  /** This trial's own directory on the fixture's file system. */
  readonly directory: string;
  /** `--quick`: fewer repetitions. */
  readonly quick: boolean;
  /** Runs the C client; throws with its message when it fails. Returns its times in ns. */
  client(cwd: string, ...args: string[]): number[];
  /** sync, then drop the kernel's caches; then run `tools` so that their own start is warm. */
  cold(...tools: readonly (readonly string[])[]): void;
  /** Mounts the fixture's layers with a fresh upper; the trial's end unmounts. */
  mount(options?: MountOptions): Mounted;
  /** The merged tree, to be read: a mount, or the plain copy. */
  tree(): string;
  /** A tree with `name` in it that may be changed: a mount, or a fresh copy. */
  scratch(name: string): string;
}

/** What the runner hands to a trial's process, as JSON. */
export interface Job {
  readonly trial: string;
  readonly driver: Driver;
  readonly fixture: Fixture;
  readonly client: string;
  readonly repository: string;
  readonly directory: string;
  readonly quick: boolean;
}

/** What the process answers, as JSON. */
export type Answer = Outcome | { readonly error: string };
