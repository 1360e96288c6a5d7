/** What a resident host has done before the first trial: every kind of work, so that its code is compiled. */
import { join } from 'node:path';
import type { Trial } from '../types.js';
import { TAR_TO_NOWHERE } from './shape.js';

const TIMES = 3;

export const exercise: Trial = {
  name: 'exercise',
  group: 'Mounts and memory',
  rows: [],
  run: (context) => {
    for (let time = 0; time < TIMES; time++) {
      const root = context.mount().mountpoint;
      const work = (...tool: string[]) => context.client(root, 'exec', '1', ...tool);
      work('find', '.', '-ls');
      work(...TAR_TO_NOWHERE, 'lib');
      work('tar', '-xf', context.fixture.archive, '--one-top-level=new');
      work('cp', '-a', 'include', 'copied');
      work('chmod', '-R', 'go-rwx', 'etc');
      work('rm', '-rf', 'include', 'copied');
      work('dd', 'if=/dev/zero', `of=${join(root, 'zero')}`, 'bs=4k', 'count=1000', 'status=none');
      context.client(root, 'missing', context.fixture.missingNames, '1');
    }
    return {};
  },
};
