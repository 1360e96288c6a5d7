/** Sends a request to a process that serves mounts, over its socket. */
import { createConnection } from 'node:net';
import { UserError } from '../base/errno.js';
import type { Request } from './control.js';

/** What is asked of a host's main thread is answered at once. */
const TIMEOUT_MS = 3000;

/** It runs, and says nothing. */
export class NoAnswer extends UserError {}

/** One request, one answer; undefined when nobody listens there (any more). */
export async function request(
  socketPath: string,
  what: Request,
  timeoutMs = TIMEOUT_MS,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath);
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(timeoutMs, () => {
      socket.destroy(new NoAnswer(`the host at ${socketPath} does not answer: it is stopped`));
    });
    socket.on('connect', () => {
      socket.write(`${JSON.stringify(what)}\n`);
    });
    socket.on('data', (part: string) => {
      text += part;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const gone = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(error.code ?? '');
      if (gone) resolve(undefined);
      else reject(error);
    });
    socket.on('close', () => {
      if (text === '') resolve(undefined);
      else settle(text, resolve, reject);
    });
  });
}

/** An answer that ends too early is the end of who gave it. */
function settle(
  text: string,
  resolve: (answer: unknown) => void,
  reject: (reason: UserError) => void,
): void {
  try {
    resolve(JSON.parse(text));
  } catch (error) {
    reject(new UserError('the host ended within its answer: try again', { cause: error }));
  }
}
