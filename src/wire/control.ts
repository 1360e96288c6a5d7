/**
 * What goes over the host's socket: one JSON line to the host, one back. Strings that hold paths or
 * arguments are latin1, one character per byte; `stdout` and `stderr` are text.
 */

export type Request =
  /** A command line that asks for a mount, as the launcher got it. Answered by Done. */
  | { readonly argv: readonly string[]; readonly cwd: string }
  | { readonly query: 'mounts' }
  /** The counters of the mount with this device ("major:minor"). */
  | { readonly query: 'stats'; readonly device: string }
  /** Answered when that mount, which was just unmounted, has been given up: upper and workdir are free. */
  | { readonly ended: string };

/** Exit code and output for the caller. */
export interface Done {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One live mount. */
export interface MountInfo {
  readonly mountpoint: string;
  /** "major:minor" of its file system. */
  readonly device: string;
  readonly lowers: readonly string[];
  readonly dataLayers?: readonly string[];
  readonly upper?: string;
  readonly work?: string;
  readonly readOnly: boolean;
  /** The process that serves it. */
  readonly pid: number;
}

/** Longest request line, in characters: 2,000 layers with long paths fit many times over. */
export const MAX_REQUEST = 16 << 20;
