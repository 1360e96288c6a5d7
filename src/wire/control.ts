/**
 * The protocol of the host's socket: one JSON line to the host, one back. Strings with paths or arguments are
 * latin1, one character a byte; `stdout` and `stderr` are text.
 */

export type Request =
  /** A command line that asks for a mount, and the build that asks. Answered by Done. */
  | {
      readonly argv: readonly string[];
      readonly cwd: string;
      readonly build: string;
      /** The name of the program, where that says more than the arguments. */
      readonly as?: 'fuse-overlayfs';
      /** FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT is set. */
      readonly dotWhiteouts?: true;
    }
  | { readonly query: 'mounts' }
  /** The counters of the mount with this device ("major:minor"). */
  | { readonly query: 'stats'; readonly device: string }
  /** Answered by HostInfo. */
  | { readonly query: 'host' }
  /** Take no more mounts, and end with the last one. Answered by Done. */
  | { readonly host: 'retire' }
  /** End; with mounts only when `force` is set, which unmounts them. Answered by Done. */
  | { readonly host: 'stop'; readonly force: boolean }
  /** End the mount with this device, if it is in no place any more. Answered by Done. */
  | { readonly free: string }
  /** Answered when that mount, which was just unmounted, has been given up: upper and workdir are free. */
  | { readonly ended: string };

/** Exit code and output for the caller. */
export interface Done {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Why this host does not serve the asker, who has to ask another. */
  readonly other?: string;
}

/** What a process that serves mounts is. */
export interface HostInfo {
  readonly pid: number;
  readonly version: string;
  /** The build id (packaging/buildId.js). */
  readonly build: string;
  /** The directory it was started from. */
  readonly path: string;
  /** The inode number of its mount namespace. */
  readonly namespace: string;
  /** What runs it: the launcher, systemd, or the terminal (--foreground). */
  readonly runBy: 'launcher' | 'systemd' | 'foreground';
  /** It takes no more mounts. */
  readonly retired: boolean;
  /** Seconds since its start. */
  readonly uptime: number;
  readonly mounts: number;
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
  /** Of a mount that can change: which directories its upper and workdir are, as st_dev:st_ino. */
  readonly upperId?: string;
  readonly workId?: string;
  /** The process that serves it, and its version, build and directory. */
  readonly pid: number;
  readonly version: string;
  readonly build: string;
  readonly path: string;
  /** The inode number of the mount namespace it was mounted in. */
  readonly namespace: string;
}

/** Longest request line, in characters: 2,000 layers with long paths fit many times over. */
export const MAX_REQUEST = 16 << 20;
