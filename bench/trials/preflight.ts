/** Before the run: does this driver mount at all? Takes no part in the results. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PROBE, type Trial } from '../types.js';

export const preflight: Trial = {
  name: 'preflight',
  group: 'Reading',
  rows: [],
  run: (context) => {
    const tree = context.tree();
    if (!existsSync(join(tree, PROBE))) throw new Error(`${tree} does not show the layers`);
    return {};
  },
};
