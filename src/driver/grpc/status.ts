/** What becomes of a failure on the wire. */
import { status, type StatusObject } from '@grpc/grpc-js';
import { UserError } from '../../base/errno.js';
import { DriverError, type Refusal } from '../snapshotter.js';

const CODES: Readonly<Record<Refusal, status>> = {
  'not-found': status.NOT_FOUND,
  'already-exists': status.ALREADY_EXISTS,
  'invalid-argument': status.INVALID_ARGUMENT,
  'failed-precondition': status.FAILED_PRECONDITION,
  'not-implemented': status.UNIMPLEMENTED,
  unavailable: status.UNAVAILABLE,
};

type Failure = Pick<StatusObject, 'code' | 'details'>;

/** The status of a request that failed. What is no refusal goes to the log as well. */
export function failure(error: unknown, log: (line: string) => void): Failure {
  const details = error instanceof Error ? error.message : String(error);
  if (error instanceof DriverError) return { code: CODES[error.refusal], details };
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  log(error instanceof UserError ? details : String(error instanceof Error ? error.stack : error));
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return { code: full ? status.RESOURCE_EXHAUSTED : status.UNKNOWN, details };
}
