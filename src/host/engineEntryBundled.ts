/** Starts an engine thread of the bundled host. hostStart.cts runs the thread, and has started the first. */
import type { Worker } from 'node:worker_threads';

declare const module: { readonly startEngine: () => Worker };

export const startEngine = (): Worker => module.startEngine();
