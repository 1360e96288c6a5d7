/** What the library's promises reject with. */
import { UserError } from '../base/errno.js';

export type FailureCode =
  /** The program asked wrongly: a missing or unknown field, a value of the wrong type. */
  | 'ERR_ARGUMENT'
  /** The host refused the mount: the message says why. Nothing is mounted. */
  | 'ERR_REFUSED'
  /** Something uses the mount; `lazy` detaches it. */
  | 'ERR_BUSY'
  /** No union is mounted there. */
  | 'ERR_NOT_MOUNTED'
  /** The mount is no more: it was unmounted, or its host has died. */
  | 'ERR_ENDED'
  /** The host does not answer, cannot be started, or has failed. */
  | 'ERR_HOST'
  /** A file or directory cannot be read or written. */
  | 'ERR_FILE';

/** A failure with one sentence as its message, and a code for programs. */
export class StratafsError extends UserError {
  override readonly name = 'StratafsError';
  readonly code: FailureCode;

  constructor(code: FailureCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Commands of the command line that a sentence ends with mean nothing to a program. */
const HINT = /(: |[;,] )(or )?(see|detach it with|give|run) (stratafs|--)[^;]*$/;

export const withoutHints = (message: string): string => message.replace(HINT, '');

/** Any error as one that the library may give away: a sentence for users gets `code`. */
function failure(error: unknown, code: FailureCode): unknown {
  if (!(error instanceof UserError) || error instanceof StratafsError) return error;
  return new StratafsError(code, withoutHints(error.message), { cause: error });
}

/** What `act` resolves with; its sentences get `code`. */
export async function coded<T>(code: FailureCode, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw failure(error, code);
  }
}
