/** Unmounting without a process in between, but fusermount3 for an ordinary user. */
import { display } from '../base/bytes.js';
import { E, errnoText } from '../base/errno.js';
import { MNT_DETACH } from '../sys/constants.js';
import { mountTable } from '../sys/mountTable.js';
import { loadNative } from '../sys/native.js';
import { realpath } from '../sys/paths.js';
import { request } from '../wire/request.js';
import { allSockets } from '../wire/sockets.js';
import { StratafsError } from './failure.js';

/** The kernel lets go before the host does. */
const ENDED_MS = 5000;

/** The device of the union at `path` (latin1). Throws StratafsError when something else is there. */
function unionAt(path: string): { readonly target: string; readonly device: string } {
  const target = realpath(path);
  const row = mountTable().findLast(({ mountpoint }) => mountpoint === target);
  if (typeof target === 'number') {
    throw new StratafsError('ERR_NOT_MOUNTED', `${display(path)}: ${errnoText(target)}`);
  }
  if (!row) throw new StratafsError('ERR_NOT_MOUNTED', `${display(path)} is not a mount point`);
  if (row.type !== 'fuse.stratafs') {
    const message = `${display(path)} holds a ${row.type} mount, not one of stratafs`;
    throw new StratafsError('ERR_NOT_MOUNTED', message);
  }
  return { target, device: row.device };
}

async function detach(target: string, lazy: boolean): Promise<void> {
  const native = loadNative();
  const result = await native.unmountPath(target, lazy ? MNT_DETACH : 0);
  if (result >= 0) return;
  const shown = display(target);
  if (result === -E.EBUSY) throw new StratafsError('ERR_BUSY', `${shown} is busy`);
  if (result !== -E.EPERM) {
    throw new StratafsError('ERR_FILE', `cannot unmount ${shown}: ${errnoText(result)}`);
  }
  const [code, said] = await native.programUnmount(target, lazy);
  if (code >= 0) return;
  const why = said.trim();
  throw new StratafsError(
    /busy/i.test(why) ? 'ERR_BUSY' : 'ERR_FILE',
    why || `cannot unmount ${shown}`,
  );
}

/** Waits until whoever served it has let go of upper and workdir, so that they can be used again. */
async function released(device: string): Promise<void> {
  const answers = allSockets().map(async (socket) => {
    const answer = (await request(socket, { ended: device }, ENDED_MS)) as
      | { readonly ended?: boolean }
      | undefined;
    if (answer?.ended !== true) throw new Error('not its own');
  });
  await Promise.any(answers).catch(() => undefined);
}

/** Unmounts the union at `path` (latin1); `lazy` detaches one that is in use. Rejects with StratafsError. */
export async function unmountAt(path: string, lazy: boolean): Promise<void> {
  const { target, device } = unionAt(path);
  await detach(target, lazy);
  if (!lazy) await released(device);
}
