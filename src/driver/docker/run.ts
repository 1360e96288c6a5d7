/** `stratafs volume-plugin`, put together. */
import { openStore, type StoreOptions } from '../../store/state/store.js';
import { serve } from '../service/run.js';
import { volumePlugin } from './volumePlugin.js';

/** Serves until a signal comes; resolves with the exit code. Throws UserError when it cannot. */
export async function runVolumePlugin(
  options: StoreOptions,
  address: string,
  log: (line: string) => void,
): Promise<number> {
  return serve(volumePlugin(await openStore(options), log), address, log);
}
