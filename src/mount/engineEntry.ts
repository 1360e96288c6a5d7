/** How an engine thread is started. Another file stands for this one in the bundled host (bundle.js). */
import { Worker } from 'node:worker_threads';

export const startEngine = (): Worker =>
  new Worker(new URL('../fuse/engineThread.js', import.meta.url));
