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
  /** A file without which it cannot run, and how one gets that. */
  readonly needs?: { readonly file: string; readonly how: string };
  /** Not in a run unless `--drivers` names it. */
  readonly onRequest?: boolean;
  /** Takes part in the short set's trials only, unless `--drivers` names it. */
  readonly briefly?: boolean;
  /** The mount and its clients live in a user namespace, without rights outside it. */
  readonly rootless?: boolean;
  /** One server for the whole run, in use before the first trial. */
  readonly resident?: boolean;
}

/** One line of the table. Less is better, always. */
export interface Row {
  readonly id: string;
  readonly title: string;
  readonly unit: 'ms' | 'µs' | 'MiB' | 'B';
}

/** What a trial measured: values by row id, in the row's unit. */
type Values = Readonly<Record<string, number>>;

/** Requests by workload, then by opcode. */
export type Requests = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** The sections of the report, in its order. */
export const GROUPS = [
  'Reading',
  'Programs',
  'Changing',
  'Data',
  'Scale',
  'Mounts and memory',
  'Wake-ups',
] as const;
export type Group = (typeof GROUPS)[number];

export interface Trial {
  readonly name: string;
  readonly group: Group;
  readonly rows: readonly Row[];
  /** Belongs to `--set short`. */
  readonly short?: boolean;
  /** No more rounds than this: it counts what does not vary. */
  readonly rounds?: number;
  /** What it leaves is large, and deleted when it has ended; other leftovers at the end of the run. */
  readonly large?: boolean;
  /** Programs it runs; where one is missing, the trial is left out with that reason. */
  readonly programs?: readonly string[];
  /** Trees of its own, by the names in parts/all.ts. */
  readonly parts?: readonly string[];
  /** Why this driver has no such trial; undefined when it has. */
  readonly refuses?: (driver: Driver) => string | undefined;
  /** Synchronous on purpose: a trial has its process to itself. */
  readonly run: (context: Context) => Outcome;
}

export interface Outcome {
  readonly values?: Values;
  readonly requests?: Requests;
  /** Why a row of this trial has no value, by row id. */
  readonly reasons?: Readonly<Record<string, string>>;
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

/** A tree for a few trials: a directory with `layer`, and what else the trials need beside it. */
export interface Part {
  readonly name: string;
  /** Counted up when the recipe changes, so that an old tree is not taken for a new one. */
  readonly recipe: number;
  readonly programs?: readonly string[];
  /** Fills `home`, which is empty; throws with a sentence when it cannot. */
  readonly make: (home: string, site: PartSite) => void;
}

export interface PartSite {
  readonly client: string;
  readonly fixture: Fixture;
  readonly quick: boolean;
}

/** A name at the top of every tree: the mount is live when it answers. */
export const PROBE = 'share';

export interface MountOptions {
  /** No upper. */
  readonly readOnly?: boolean;
  /** Options added to {opts}. */
  readonly extra?: string;
  /** Other layers than the fixture's, topmost first; relative to `cwd`. */
  readonly lowers?: readonly string[];
  /** Where the mount command is run; `/` unless told. */
  readonly cwd?: string;
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
  /** The directory of a part that the trial has named. */
  part(name: string): string;
  /** Runs the C client in `cwd`; throws with its message when it fails. Returns its times in ns. */
  client(cwd: string, ...args: string[]): number[];
  /** sync, then drop the kernel's caches; then run `tools` so that their own start is warm. */
  cold(...tools: readonly (readonly string[])[]): void;
  /**
   * Brings 2 GiB of memory into the machine: free memory that a hypervisor has taken back costs as
   * much as the disk when it is touched again. For trials that read much; last before the time.
   */
  memory(): void;
  /** Mounts the fixture's layers with a fresh upper; the trial's end unmounts. */
  mount(options?: MountOptions): Mounted;
  /** The merged tree (or a part's layer) to be read: a mount, or the plain copy. */
  tree(part?: string): string;
  /** A tree with `name` in it that may be changed: a mount, or a fresh copy. */
  scratch(name: string, part?: string): string;
}

/** What the runner hands to a trial's process, as JSON. */
export interface Job {
  readonly trial: string;
  readonly driver: Driver;
  readonly fixture: Fixture;
  readonly parts: Readonly<Record<string, string | undefined>>;
  readonly client: string;
  readonly repository: string;
  readonly directory: string;
  readonly quick: boolean;
}

/** What the process answers, as JSON. */
export type Answer = Outcome | { readonly error: string };
