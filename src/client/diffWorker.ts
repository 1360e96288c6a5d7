/** The thread that reads an upper for the library's `diff`: one message back, the changes or a sentence. */
import { parentPort, workerData } from 'node:worker_threads';
import { UserError } from '../base/errno.js';
import { diffUpper } from '../diff/diff.js';
import { changeJson } from '../diff/json.js';

interface Layers {
  readonly upper: string;
  readonly lowers: readonly string[];
  readonly dataLayers?: readonly string[];
}

const { upper, lowers, dataLayers } = workerData as Layers;
try {
  const changes = diffUpper(upper, lowers, dataLayers);
  parentPort?.postMessage(changes.map((change) => changeJson(change, false)));
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  parentPort?.postMessage({ sentence: error.message });
}
