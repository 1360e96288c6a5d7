/** Telling the service manager how far a service is (sd_notify(3)). */
import { errnoText } from '../../base/errno.js';
import { loadNative } from '../../sys/native.js';

/** Sends `state` (`READY=1`, `STOPPING=1`), where there is a service manager that wants to know. */
export function notify(state: string, log: (line: string) => void): void {
  const socket = process.env['NOTIFY_SOCKET'] ?? '';
  if (socket === '') return;
  const result = loadNative().sendDatagram(socket, state);
  if (result < 0) log(`cannot tell the service manager ${state}: ${errnoText(result)}`);
}
