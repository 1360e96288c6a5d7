/** All trials, in the order of a round. The report has them by group. */
import type { Trial } from '../types.js';
import { changingTrials } from './changing.js';
import { dataTrials } from './data.js';
import { fioTrials } from './fio.js';
import { layerTrials } from './layers.js';
import { planeTrials } from './planes.js';
import { programTrials } from './programs.js';
import { readingTrials } from './reading.js';
import { requestTrials } from './requests.js';
import { servingTrials } from './serving.js';
import { wakeupTrials } from './wakeups.js';

export const trials: readonly Trial[] = [
  ...readingTrials,
  ...programTrials,
  ...changingTrials,
  ...dataTrials,
  ...fioTrials,
  ...planeTrials,
  ...layerTrials,
  ...servingTrials,
  ...requestTrials,
  ...wakeupTrials,
];
