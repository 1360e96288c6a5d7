/**
 * Failing calls: the addon's functions as the engine has them, of which the n-th one fails, once or with all
 * that come after it, with a given error and without having done anything.
 */
import { E } from '../../src/base/errno.js';
import { O_CREAT } from '../../src/sys/constants.js';
import { loadNative, type Native } from '../../src/sys/native.js';

/** The functions that make system calls for the engine, but close(2), whose failure means nothing. */
const CALLS = [
  ...(['openat2', 'openTree', 'mountSetattr', 'statx', 'mknodat', 'mkdirat', 'linkat'] as const),
  ...(['symlinkat', 'readlinkat', 'renameat2', 'unlinkat', 'faccessat', 'fchownat'] as const),
  ...(['fchmodat', 'utimensat', 'getdents64', 'lseek', 'getxattr', 'setxattr'] as const),
  ...(['listxattr', 'removexattr', 'pread', 'pwrite', 'ftruncate', 'fallocate'] as const),
  ...(['copyFileRange', 'copyData', 'fsync', 'fdatasync', 'syncfs', 'fstatfs'] as const),
  ...(['ioctl', 'nameToHandleAt', 'openByHandleAt', 'flock'] as const),
];
type Call = (typeof CALLS)[number];

/** Calls that make a descriptor: only these say EMFILE. */
const OPENS: readonly string[] = ['openat2', 'openTree', 'openByHandleAt'];
/** Calls that may need room on the disk. */
const WRITES: readonly string[] = [
  ...['mknodat', 'mkdirat', 'linkat', 'symlinkat', 'renameat2', 'setxattr', 'pwrite', 'ftruncate'],
  ...['fallocate', 'copyFileRange', 'copyData', 'fsync', 'fdatasync'],
];

export const ERRORS = {
  EIO: E.EIO,
  EMFILE: E.EMFILE,
  ENOSPC: E.ENOSPC,
  EDQUOT: E.EDQUOT,
  ENOMEM: E.ENOMEM,
} as const;
export type ErrorName = keyof typeof ERRORS;

/** A call that was made, with what tells one from another: its name's argument or key. */
export interface Made {
  readonly call: string;
  readonly text: string;
  readonly creates: boolean;
}

/** Whether a call can fail so. */
export function canFail({ call, creates }: Made, error: ErrorName): boolean {
  if (error === 'EMFILE') return OPENS.includes(call);
  if (error === 'ENOSPC' || error === 'EDQUOT') return creates || WRITES.includes(call);
  return true;
}

export class Injector {
  readonly native: Native;
  /** Makes devices impossible: mknodat of a 0:0 device fails with EPERM, always. */
  readonly #noDevices: boolean;
  #armed = false;
  #count = 0;
  #target = 0;
  #errno = 0;
  #lasting = false;
  #made: Made[] = [];
  fired: Made | undefined;

  constructor(noDevices = false) {
    this.#noDevices = noDevices;
    const real = loadNative();
    const native = Object.create(real) as Native;
    for (const call of CALLS) {
      const original = real[call].bind(real) as (...args: unknown[]) => unknown;
      const value = (...args: unknown[]): unknown => {
        const refused = this.#refuses(call, args);
        return refused === 0 ? original(...args) : refused;
      };
      Object.defineProperty(native, call, { value });
    }
    this.native = native;
  }

  #refuses(call: Call, args: readonly unknown[]): number {
    if (this.#noDevices && call === 'mknodat' && (Number(args[2]) & 0o170000) === 0o020000) {
      return -E.EPERM;
    }
    if (!this.#armed) return 0;
    const texts = args.filter((arg) => typeof arg === 'string');
    const creates = call === 'openat2' && (Number(args[2]) & O_CREAT) !== 0;
    const made = { call, text: texts.join(' '), creates };
    this.#made.push(made);
    const number = ++this.#count;
    if (number === this.#target) this.fired = made;
    const fails = number === this.#target || (this.#lasting && this.fired !== undefined);
    return fails ? -this.#errno : 0;
  }

  /** From now on calls count; the `target`-th (from 1; 0: none) fails, or (`lasting`) all from it on. */
  arm(target: number, errno: number, lasting = false): void {
    this.#lasting = lasting;
    this.#armed = true;
    this.#count = 0;
    this.#target = target;
    this.#errno = errno;
    this.#made = [];
    this.fired = undefined;
  }

  /** Calls no longer count; those that were made. */
  disarm(): readonly Made[] {
    this.#armed = false;
    return this.#made;
  }
}
