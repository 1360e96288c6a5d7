/** What a mount did so far, for `stratafs stats`. */
import { Op, opcodeName } from '../protocol/opcodes.js';
import type { MountStats } from './messages.js';
import type { Session } from './session.js';

/** Places in Native.counters that hold bytes instead of requests. */
const BYTES_READ = 0;
const BYTES_WRITTEN = 63;

export function statsOf(session: Session, fds: number): MountStats {
  const { ov, slot } = session;
  const counters = ov.sys.native.counters(slot);
  const requests: Record<string, number> = {};
  for (const code of Object.values(Op)) {
    const count = counters[code];
    if (count > 0) requests[opcodeName(code)] = count;
  }
  return {
    requests,
    bytesRead: counters[BYTES_READ],
    bytesWritten: counters[BYTES_WRITTEN],
    copyUps: ov.copyUps,
    data: ov.passthrough ? 'passthrough' : 'cached',
    ...(ov.backings && {
      open: ov.backings.open,
      opens: ov.backings.opened,
      backings: ov.backings.size,
      backingsRegistered: ov.backings.registered,
    }),
    inodes: ov.table.size,
    fds,
    arena: ov.table.arena.used,
  };
}
