/** containerd.services.snapshots.v1 over a snapshotter. */
import type {
  sendUnaryData,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { DriverError, type Info, type Kind, type Mount, type Snapshotter } from '../snapshotter.js';
import type { CommitRequest, ListRequest, SnapshotRequest, UpdateRequest } from './messages.js';
import { failure } from './status.js';

const KINDS: Readonly<Record<Kind, string>> = {
  active: 'ACTIVE',
  view: 'VIEW',
  committed: 'COMMITTED',
};
/** As containerd's own service does. */
const INFOS_A_MESSAGE = 100;
const NS = 1_000_000_000n;

type Log = (line: string) => void;

const timestamp = (time: bigint) => ({ seconds: String(time / NS), nanos: Number(time % NS) });

function infoMessage({ name, parent, kind, created, updated, labels }: Info) {
  const times = { created_at: timestamp(created), updated_at: timestamp(updated) };
  return { name, parent, kind: KINDS[kind], ...times, labels };
}

const mountsMessage = (mounts: readonly Mount[]) => ({ mounts });

/** A handler of one request and one answer. */
export function unary<Request>(
  log: Log,
  act: (request: Request, call: ServerUnaryCall<Request, object>) => Promise<object>,
) {
  return (call: ServerUnaryCall<Request, object>, callback: sendUnaryData<object>): void => {
    act(call.request, call).then(
      (answer) => callback(null, answer),
      (error: unknown) => callback(failure(error, log)),
    );
  };
}

async function update(snapshotter: Snapshotter, request: UpdateRequest): Promise<object> {
  if (!request.info) throw new DriverError('invalid-argument', 'an update needs an info');
  const { name, labels } = request.info;
  const info = await snapshotter.update(name, labels, request.update_mask?.paths ?? []);
  return { info: infoMessage(info) };
}

function list(snapshotter: Snapshotter, log: Log) {
  return (call: ServerWritableStream<ListRequest, object>): void => {
    snapshotter.list(call.request.filters).then(
      (infos) => {
        for (let from = 0; from < infos.length; from += INFOS_A_MESSAGE) {
          call.write({ info: infos.slice(from, from + INFOS_A_MESSAGE).map(infoMessage) });
        }
        call.end();
      },
      (error: unknown) => call.emit('error', failure(error, log)),
    );
  };
}

export function snapshotService(snapshotter: Snapshotter, log: Log): UntypedServiceImplementation {
  return {
    Prepare: unary<SnapshotRequest>(log, async ({ key, parent, labels }) =>
      mountsMessage(await snapshotter.prepare(key, parent, labels)),
    ),
    View: unary<SnapshotRequest>(log, async ({ key, parent, labels }) =>
      mountsMessage(await snapshotter.view(key, parent, labels)),
    ),
    Mounts: unary<SnapshotRequest>(log, async ({ key }) =>
      mountsMessage(await snapshotter.mounts(key)),
    ),
    Commit: unary<CommitRequest>(log, async ({ name, key, labels, parent }) => {
      await snapshotter.commit(name, key, labels, parent);
      return {};
    }),
    Remove: unary<SnapshotRequest>(log, async ({ key }) => {
      await snapshotter.remove(key);
      return {};
    }),
    Stat: unary<SnapshotRequest>(log, async ({ key }) => ({
      info: infoMessage(await snapshotter.stat(key)),
    })),
    Update: unary<UpdateRequest>(log, (request) => update(snapshotter, request)),
    List: list(snapshotter, log),
    Usage: unary<SnapshotRequest>(log, ({ key }) => snapshotter.usage(key)),
    Cleanup: unary<object>(log, async () => {
      await snapshotter.cleanup();
      return {};
    }),
  };
}
