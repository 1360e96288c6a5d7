/** containerd.services.diff.v1 over a differ. */
import type { Metadata, ServerUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { Caller } from '../differ/content.js';
import type { Differ } from '../differ/differ.js';
import { DriverError } from '../snapshotter.js';
import type { ApplyRequest, DiffRequest } from './messages.js';
import { unary } from './snapshotService.js';

/** Headers of containerd's clients (pkg/namespaces and core/leases). */
export const NAMESPACE_HEADER = 'containerd-namespace';
export const LEASE_HEADER = 'containerd-lease';

function header(metadata: Metadata, name: string): string | undefined {
  const value = metadata.get(name).at(0);
  return value === undefined ? undefined : String(value);
}

/** For whom the request is made, and a signal for its cancellation. */
function callerOf(call: ServerUnaryCall<unknown, object>): Caller {
  const namespace = header(call.metadata, NAMESPACE_HEADER);
  if (namespace === undefined) {
    throw new DriverError('failed-precondition', 'the request names no namespace of containerd');
  }
  const abort = new AbortController();
  call.on('cancelled', () => {
    abort.abort();
  });
  return { namespace, lease: header(call.metadata, LEASE_HEADER), signal: abort.signal };
}

export function diffService(
  differ: Differ,
  log: (line: string) => void,
): UntypedServiceImplementation {
  return {
    Apply: unary<ApplyRequest>(log, async (request, call) => {
      if (!request.diff) throw new DriverError('invalid-argument', 'nothing to apply is named');
      const { media_type: mediaType, digest, size } = request.diff;
      const applied = await differ.apply(
        {
          blob: { mediaType, digest, size: Number(size) },
          mounts: request.mounts,
          processed: Object.keys(request.payloads).length > 0,
          sync: request.sync_fs,
        },
        callerOf(call),
      );
      return { applied: message(applied) };
    }),
    Diff: unary<DiffRequest>(log, async (request, call) => {
      const { left, right, media_type: mediaType, ref, labels, source_date_epoch: epoch } = request;
      const wanted = { left, right, mediaType, ref, labels };
      const seconds = epoch ? { sourceDateEpoch: Number(epoch.seconds) } : {};
      const made = await differ.diff({ ...wanted, ...seconds }, callerOf(call));
      return { diff: message(made) };
    }),
  };
}

const message = (blob: { mediaType: string; digest: string; size: number }) => ({
  media_type: blob.mediaType,
  digest: blob.digest,
  size: blob.size,
});
