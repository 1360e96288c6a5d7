/** A service's life: listen, say so, serve until a signal, finish what has begun. */
import type { Server } from 'node:net';
import { listen } from './listen.js';
import { notify } from './notify.js';

export interface Service {
  readonly server: Server;
  /** Ends the service: no new requests, those under way are answered. */
  stop(): Promise<void>;
}

/** Serves at `path` until SIGTERM or SIGINT; resolves with the exit code. */
export async function serve(
  service: Service,
  path: string,
  log: (line: string) => void,
): Promise<number> {
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  log(`listening at ${await listen(service.server, path)}`);
  notify('READY=1', log);
  await ended;
  notify('STOPPING=1', log);
  await service.stop();
  return 0;
}
