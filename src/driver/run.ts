/** `stratafs snapshotter`: the services of a containerd proxy plug-in on one socket. */
import type { Style } from '../archive/types.js';
import { administersMachine } from '../sys/userns.js';
import { Differ } from './differ/differ.js';
import { ContentClient } from './grpc/contentClient.js';
import { diffService } from './grpc/diffService.js';
import { DIFF, SNAPSHOTS } from './grpc/protos.js';
import { grpcServer } from './grpc/server.js';
import { snapshotService } from './grpc/snapshotService.js';
import { serve } from './service/run.js';
import { openHome } from './snapshots/home.js';
import type { Presentation } from './snapshots/present.js';
import { reconcile, type Report } from './snapshots/reconcile.js';
import { Records } from './snapshots/records.js';
import { Snapshots } from './snapshots/snapshots.js';
import { Unions } from '../client/unions.js';

export interface SnapshotterOptions {
  readonly root: string;
  readonly address: string;
  /** containerd's socket, for the diff plug-in. */
  readonly containerd: string;
  readonly presentation: Presentation;
  readonly style: Style;
}

type Log = (line: string) => void;

function reportLines({ committed, active, views, swept, problems }: Report): string[] {
  return [
    `${committed} layers, ${active} active snapshots, ${views} views`,
    ...swept.map((what) => `removed ${what}, which belongs to no snapshot`),
    ...problems,
  ];
}

/** Serves until a signal comes; resolves with the exit code. Throws UserError when it cannot. */
export async function runSnapshotter(options: SnapshotterOptions, log: Log): Promise<number> {
  const { home, lock } = openHome(options.root);
  const unions = new Unions(log);
  const records = new Records(home);
  try {
    for (const line of reportLines(await reconcile(home, records, unions))) log(line);
    const snapshots = new Snapshots(home, records, unions, {
      presentation: options.presentation,
      mayUnpack: administersMachine(),
      log,
    });
    const differ = new Differ(snapshots, new ContentClient(options.containerd), options.style);
    const service = grpcServer([
      [SNAPSHOTS, snapshotService(snapshots, log)],
      [DIFF, diffService(differ, log)],
    ]);
    return await serve(service, options.address, log);
  } finally {
    lock.release();
  }
}

/** What a snapshotter that starts would remove, and what is wrong; nothing is changed. */
export async function checkSnapshotter(root: string, log: Log): Promise<number> {
  const { home, lock } = openHome(root);
  try {
    const report = await reconcile(home, new Records(home), new Unions(log), false);
    for (const line of reportLines(report)) log(line);
    return report.problems.length === 0 ? 0 : 1;
  } finally {
    lock.release();
  }
}
