/** Learning of a mount's end: the host keeps the question, and answers when there is something to say. */
import { createConnection } from 'node:net';
import type { Served } from './ask.js';

/** `unmounted`; or `died`: the host has ended without it, and what is there answers ENOTCONN. */
export type End = 'unmounted' | 'died';

/** Calls `ended` once. It keeps no program from ending. Returns what stops it. */
export function watch({ socket: path, device }: Served, ended: (how: End) => void): () => void {
  const socket = createConnection(path);
  let text = '';
  let told = false;
  const tell = (how: End): void => {
    if (!told) ended(how);
    told = true;
  };
  socket.setEncoding('utf8');
  socket.unref();
  socket.on('connect', () => socket.write(`${JSON.stringify({ watch: device })}\n`));
  socket.on('data', (part: string) => {
    text += part;
  });
  // What failed shows in 'close', which follows.
  socket.on('error', () => undefined);
  socket.on('close', () => {
    tell(text.includes('"unmounted"') ? 'unmounted' : 'died');
  });
  return () => {
    told = true;
    socket.destroy();
  };
}
