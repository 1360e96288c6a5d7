/** What an engine thread of the bundled host runs: in a worker, hostStart.cts takes its bundle. */
import { join } from 'node:path';

export const ENGINE_ENTRY = join(import.meta.dirname, 'hostStart.cjs');
