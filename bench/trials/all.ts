/** All trials, in the order of the table. */
import type { Trial } from '../types.js';
import { changingTrials } from './changing.js';
import { readingTrials } from './reading.js';
import { servingTrials } from './serving.js';

export const trials: readonly Trial[] = [...readingTrials, ...changingTrials, ...servingTrials];
