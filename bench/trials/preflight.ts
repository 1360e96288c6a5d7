/** Before the run: does this driver mount at all? Takes no part in the results. */
import type { Trial } from '../types.js';

export const preflight: Trial = {
  name: 'preflight',
  group: 'Reading',
  rows: [],
  run: (context) => {
    // Throws unless the mount answers.
    context.mount();
    return {};
  },
};
