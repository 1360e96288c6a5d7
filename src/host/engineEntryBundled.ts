/** How an engine thread of the bundled host is started: hostStart.cts runs it, and began the first. */
import type { Worker } from 'node:worker_threads';

declare const module: { readonly startEngine: () => Worker };

export const startEngine = (): Worker => module.startEngine();
