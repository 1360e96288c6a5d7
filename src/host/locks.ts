/**
 * One upper, one live mount. The host holds flock(2) on the directories themselves for the life of the mount,
 * so hosts of other namespaces and of other users see it too. The kernel drops the lock with the process, so
 * a crash leaves none behind.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { display } from '../base/bytes.js';
import { E, errnoText, UserError } from '../base/errno.js';
import type { Native } from '../sys/native.js';
import { within } from './within.js';

const LOCK_SH = 1;
const LOCK_EX = 2;
/** A file system whose server has stopped does not answer at all. */
const HANG_MS = 15_000;
/** Before other hosts are asked. */
const FIRST_PATIENCE_MS = 100;
/** How long a mount that has just been unmounted may take to let go of its upper. */
const PATIENCE_MS = 2000;
/** The same for who only reads, and can do so meanwhile at some cost. */
const READER_PATIENCE_MS = 50;
const STEP_MS = 10;

/** Who may have a directory. */
interface Users {
  /** The live mount of this process that has it, if one does: then waiting is in vain. */
  readonly here: () => string | undefined;
  /** Has another host let go of it, where that can be. Says who has it otherwise. */
  readonly elsewhere: () => Promise<string | undefined>;
}

export class DirectoryLock {
  readonly #native: Native;
  readonly #fd: number;

  private constructor(native: Native, fd: number) {
    this.#native = native;
    this.#fd = fd;
  }

  release(): void {
    this.#native.close(this.#fd);
  }

  /** Locks directory `path`. Throws UserError. */
  static async take(
    native: Native,
    role: string,
    path: string,
    { here, elsewhere }: Users,
  ): Promise<DirectoryLock> {
    let result = await tryLock(native, path, LOCK_EX, here, FIRST_PATIENCE_MS);
    let where: string | undefined;
    if (result === -E.EWOULDBLOCK && here() === undefined) {
      where = await elsewhere();
      result = await tryLock(native, path, LOCK_EX, here, PATIENCE_MS);
    }
    if (result >= 0) return new DirectoryLock(native, result);
    const own = here();
    throw new UserError(
      refusal(role, path, result, own === undefined ? where : `the mount on ${display(own)}`),
    );
  }

  /**
   * Whether a mount of this process (`owner`) or of another host changes directory `path`, an upper that
   * is only to be read. Locks nothing. Throws UserError.
   */
  static async isTaken(
    native: Native,
    path: string,
    owner: () => string | undefined,
  ): Promise<boolean> {
    const result = await tryLock(native, path, LOCK_SH, owner, READER_PATIENCE_MS);
    if (result >= 0) native.close(result);
    if (result >= 0) return false;
    if (result === -E.EWOULDBLOCK) return true;
    throw new UserError(refusal('upperdir', path, result, undefined));
  }
}

/**
 * A descriptor that holds flock(2); waits a little for a mount that is just ending, but not for
 * one that is `owner`'s.
 */
async function tryLock(
  native: Native,
  path: string,
  how: number,
  owner: () => string | undefined,
  patience: number,
): Promise<number> {
  for (let waited = 0; ; waited += STEP_MS) {
    const result = await within(HANG_MS, native.lockPath(path, how));
    if (result === undefined) return -E.ETIMEDOUT;
    if (result !== -E.EWOULDBLOCK || owner() !== undefined || waited >= patience) return result;
    await sleep(STEP_MS);
  }
}

function refusal(role: string, path: string, result: number, user: string | undefined): string {
  const shown = `${role} ${display(path)}`;
  if (result !== -E.EWOULDBLOCK) return `cannot lock ${shown}: ${errnoText(result)}`;
  return `${shown} is in use by ${user ?? 'another live mount'}: unmount that first, or use another directory`;
}
